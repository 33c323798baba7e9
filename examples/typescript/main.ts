// An example: a deployment that waits for somebody's approval in Slack. See ../README.md.

import { fileURLToPath } from 'node:url';
import { ApplicationFailure, Client, WorkflowFailedError } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { NativeConnection, Worker } from '@temporalio/worker';
import * as activities from './activities.ts';
import type { Deploy, Input } from './workflows.ts';

/** Where the worker takes its work. It is not the task queue of the approvals. */
const taskQueue = 'deploy-typescript';

const [command, ...args] = process.argv.slice(2);
if (command === 'worker' && args.length === 0) {
  await worker();
} else if (command === 'start' && args.length > 3) {
  const [version, channel, requester, ...approvers] = args;
  await start({ version, channel, requester, approvers, approval_queue: process.env.TASK_QUEUE });
} else {
  console.error('say worker, or start VERSION CHANNEL REQUESTER APPROVER [APPROVER …]');
  process.exitCode = 1;
}

/** Connects to Temporal by TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE and so on. */
async function connect() {
  const { connectionOptions, namespace } = loadClientConnectConfig();
  return { connection: await NativeConnection.connect(connectionOptions), namespace };
}

/** Runs workflows and activities until it is told to end. */
async function worker() {
  const { connection, namespace } = await connect();
  const worker = await Worker.create({
    connection,
    namespace,
    taskQueue,
    workflowsPath: fileURLToPath(new URL('workflows.ts', import.meta.url)),
    activities,
  });
  await worker.run();
  await connection.close();
}

/** Starts a deployment and waits until it has ended. The deployment goes on where this program does not. */
async function start(input: Input) {
  const { connection, namespace } = await connect();
  const client = new Client({ connection, namespace });
  try {
    const handle = await client.workflow.start<typeof Deploy>('Deploy', {
      workflowId: `deploy-${input.version}`, // A version is deployed once at a time.
      taskQueue,
      args: [input],
    });
    console.log('started', handle.workflowId);
    console.log(await handle.result());
  } catch (err) {
    const refused = err instanceof WorkflowFailedError && err.cause;
    if (!(refused instanceof ApplicationFailure) || refused.type !== 'NotApproved') {
      throw err;
    }
    console.error(refused.message);
    process.exitCode = 1;
  } finally {
    await connection.close();
  }
}
