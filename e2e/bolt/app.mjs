// @ts-check

// A small app as Slack's documentation has one write it: Bolt does the signatures, the acknowledgements, the parsing
// and the Web API. It tells its test what Bolt made of everything, in lines of JSON on standard output.

import bolt from '@slack/bolt';

/**
 * @import { Logger, RespondFn } from '@slack/bolt'
 * @import { HomeView, KnownBlock, ModalView } from '@slack/types'
 */

const env = process.env;

/** @param {Record<string, unknown>} line */
function tell(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/**
 * Tells what the Web API has answered, for the test to hold against the type that Bolt declares for it, which has no
 * null.
 *
 * @param {string} type @param {unknown} value
 */
function answered(type, value) {
  tell({ event: 'answered', type, value: JSON.parse(JSON.stringify(value, (_, v) => v ?? undefined)) });
}

/** @param {unknown[]} words */
const log = (...words) => console.error(...words);
/** @param {unknown[]} words */
const complain = (...words) => tell({ event: 'complaint', text: words.map(String).join(' ') });

/** @type {Logger} */
const logger = {
  debug: log,
  info: log,
  warn: complain,
  error: complain,
  setLevel() {},
  getLevel: () => bolt.LogLevel.DEBUG,
  setName() {},
};

const app = new bolt.App({
  token: env.SLACK_BOT_TOKEN,
  ...(env.SLACK_APP_TOKEN
    ? { socketMode: true, appToken: env.SLACK_APP_TOKEN }
    : { signingSecret: env.SLACK_SIGNING_SECRET }),
  clientOptions: { slackApiUrl: env.SLACK_API_URL },
  logger,
});

app.error(async (error) => complain(error.code, error));

/**
 * The name in declared.ts of what Bolt has received.
 *
 * @param {any} body
 */
function typeOf(body) {
  if (body.command) return 'SlashCommand';
  if (body.type === 'event_callback') return 'AppHomeOpened';
  if (body.type === 'block_actions') return body.view ? 'ViewClick' : 'MessageClick';
  return { view_submission: 'Submission', view_closed: 'Closing' }[String(body.type)] ?? body.type;
}

app.use(async ({ body, context, next }) => {
  tell({ event: 'received', type: typeOf(body), value: body, context });
  await next();
});

/** @param {string} text @returns {KnownBlock} */
const section = (text) => ({ type: 'section', text: { type: 'mrkdwn', text, verbatim: true } });

/** @param {string} action_id @param {string} text @param {string} value @returns {KnownBlock} */
const button = (action_id, text, value) => ({
  type: 'actions',
  block_id: `${action_id}-buttons`,
  elements: [{ type: 'button', action_id, text: { type: 'plain_text', text }, value, style: 'primary' }],
});

app.command('/hello', async ({ command, ack, say, client }) => {
  if (!command.text) {
    await ack('Usage: /hello NAME');
    return;
  }
  await ack({ response_type: 'ephemeral', text: `Saying hello to ${command.text}.` });
  const person = await client.users.info({ user: command.user_id });
  answered('UsersInfoResponse', person);
  answered(
    'ChatPostMessageResponse',
    await say({
      text: `Hello, ${command.text}!`,
      blocks: [section(`Hello, ${command.text}! (from ${person.user?.real_name})`), button('edit', 'Edit', command.text)],
      metadata: { event_type: 'hello', event_payload: { name: command.text } },
    }),
  );
});

/**
 * Where a modal's end is told, by the trigger that it was opened with: people may be done with a modal before the app
 * has heard that it is open.
 *
 * @type {Map<string, RespondFn>}
 */
const tellers = new Map();

/** @param {string} private_metadata @param {string} label @returns {ModalView} */
const modal = (private_metadata, label) => ({
  type: 'modal',
  callback_id: 'edit',
  private_metadata,
  notify_on_close: true,
  title: { type: 'plain_text', text: 'Edit' },
  submit: { type: 'plain_text', text: 'Save' },
  close: { type: 'plain_text', text: 'Cancel' },
  blocks: [
    {
      type: 'input',
      block_id: 'who',
      optional: true,
      label: { type: 'plain_text', text: label },
      element: { type: 'plain_text_input', action_id: 'name' },
    },
  ],
});

app.action({ type: 'block_actions', action_id: 'edit' }, async ({ body, ack, client, respond }) => {
  await ack();
  const { trigger_id } = body;
  tellers.set(trigger_id, respond);
  const origin = JSON.stringify({ channel: body.channel?.id, ts: body.message?.ts, trigger_id });
  answered('ViewsOpenResponse', await client.views.open({ trigger_id, view: modal(origin, 'Name') }));
});

app.view({ type: 'view_submission', callback_id: 'edit' }, async ({ view, body, ack, client }) => {
  const name = view.state.values.who.name.value;
  if (!name) {
    await ack({ response_action: 'errors', errors: { who: 'Say a name.' } });
    return;
  }
  if (name === '?') {
    await ack({ response_action: 'update', view: modal(view.private_metadata, 'Any name') });
    return;
  }
  await ack();
  const { channel, ts, trigger_id } = JSON.parse(view.private_metadata);
  const text = `Hello, ${name}!`;
  answered('ChatUpdateResponse', await client.chat.update({ channel, ts, text, blocks: [section(text)] }));
  await tellers.get(trigger_id)?.({ replace_original: false, text: `Saved by <@${body.user.id}>.` });
});

app.view({ type: 'view_closed', callback_id: 'edit' }, async ({ view, ack }) => {
  await ack();
  const { trigger_id } = JSON.parse(view.private_metadata);
  await tellers.get(trigger_id)?.({ replace_original: false, text: 'Nothing saved.' });
});

/** @param {number} count @returns {HomeView} */
const home = (count) => ({
  type: 'home',
  private_metadata: String(count),
  blocks: [section(`You have been here ${count} times.`), button('again', 'Again', String(count))],
});

app.event('app_home_opened', async ({ event, client }) => {
  answered('ViewsPublishResponse', await client.views.publish({ user_id: event.user, view: home(1) }));
});

app.action({ type: 'block_actions', action_id: 'again' }, async ({ body, ack, client }) => {
  await ack();
  const count = Number(body.view?.private_metadata) + 1;
  const hash = body.view?.hash;
  answered('ViewsPublishResponse', await client.views.publish({ user_id: body.user.id, hash, view: home(count) }));
});

// The test holds the other end: when it is gone, so is the app.
process.stdin.resume().on('end', () => process.exit());

answered('AuthTestResponse', await app.client.auth.test());
if (env.SLACK_APP_TOKEN) {
  await app.start();
  tell({ event: 'ready' });
} else {
  const server = await app.start({ port: 0, host: '127.0.0.1' });
  const address = server.address();
  tell({ event: 'ready', port: typeof address === 'object' ? address?.port : 0 });
}
