import {
  ApplicationFailure,
  ChildWorkflowCancellationType,
  executeChild,
  ParentClosePolicy,
  proxyActivities,
} from '@temporalio/workflow';
import type * as activities from './activities.ts';

/** What Deploy is started with. */
export interface Input {
  version: string;
  /** The ID of the Slack channel where the card appears. */
  channel: string;
  /** The Slack ID of who wants it: they do not decide, and are told how it ends. */
  requester?: string;
  /** The Slack IDs of those who may decide; nobody means the deployment's APPROVERS. */
  approvers?: string[];
  /** How long it waits, such as "4h"; without it, the deployment's DEADLINE. */
  deadline?: string;
  /**
   * The task queue of the approvals; without it, "countersign". It comes with the input because a workflow must not
   * read the environment: it has to do the same again whenever Temporal replays it.
   */
  approval_queue?: string;
}

/** Somebody in Slack; without a name, where it was done in Temporal's UI or with its command line. */
interface Person {
  name?: string;
}

/** What Approval returns, as far as Deploy needs it. */
interface Result {
  outcome: 'approved' | 'rejected' | 'expired' | 'withdrawn';
  decisions?: { by?: Person; reason?: string }[];
  changes?: { by?: Person }[];
}

/** Approval as Deploy calls it: it runs elsewhere, so only its types are needed. */
type Approval = (request: {
  title: string;
  channel: string;
  requester?: string;
  approvers?: { users?: string[]; groups?: string[] };
  deadline?: string;
}) => Promise<Result>;

const { rollOut } = proxyActivities<typeof activities>({ startToCloseTimeout: '10 minutes' });

/** Asks for approval, and deploys a version once it has it. */
export async function Deploy(input: Input): Promise<string> {
  // Where it cannot be asked, or this workflow is cancelled, this throws what says so.
  const result = await executeChild<Approval>('Approval', {
    taskQueue: input.approval_queue || 'countersign',
    // Where this workflow ends first, in whatever way, the request is withdrawn and its card closed. Without this
    // Temporal terminates the child: nobody closes the card, its buttons stay until somebody clicks one, and that click
    // decides nothing.
    parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
    // Where this workflow is cancelled, it waits until the child says who was first, the decision or the cancellation.
    cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
    args: [
      {
        title: `Deploy ${input.version}`,
        channel: input.channel,
        requester: input.requester,
        approvers: { users: input.approvers }, // "groups" takes the IDs of user groups
        deadline: input.deadline,
      },
    ],
  });
  if (result.outcome !== 'approved') {
    throw ApplicationFailure.nonRetryable(`${input.version} is not deployed: ${why(result)}`, 'NotApproved', result);
  }
  return await rollOut(input.version);
}

/** How it came that it was not approved, and who decided so: the last one who did something. */
function why({ outcome, decisions, changes }: Result): string {
  const decision = decisions?.at(-1);
  const change = changes?.at(-1);
  if (outcome === 'rejected' && decision) {
    return `rejected by ${who(decision.by)}${decision.reason ? `: ${decision.reason}` : ''}`;
  }
  if (outcome === 'withdrawn' && change) {
    return `withdrawn by ${who(change.by)}`;
  }
  return outcome === 'expired' ? 'expired, as nobody decided in time' : outcome;
}

function who(person?: Person): string {
  return person?.name ?? 'somebody outside Slack';
}
