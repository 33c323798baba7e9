// How Bolt declares what the app tells of, by the name that the app has for it.
//
// Two things Slack does otherwise than Bolt declares: the enterprise of those that have none is null, and what is done
// in a view has no response URL. See https://docs.slack.dev/reference/interaction-payloads/block_actions-payload.

import type {
  BlockAction,
  ButtonAction,
  EnvelopedEvent,
  SlashCommand,
  ViewClosedAction,
  ViewSubmitAction,
  webApi,
} from '@slack/bolt';
import type { AppHomeOpenedEvent } from '@slack/types';

export interface Declared {
  SlashCommand: SlashCommand;
  MessageClick: Workspace<BlockAction<ButtonAction>> & Required<Pick<BlockAction, 'channel' | 'message'>>;
  ViewClick: Workspace<Omit<BlockAction<ButtonAction>, 'response_url'>> & Required<Pick<BlockAction, 'view'>>;
  Submission: Workspace<ViewSubmitAction>;
  Closing: Workspace<ViewClosedAction>;
  AppHomeOpened: EnvelopedEvent<AppHomeOpenedEvent>;
  AuthTestResponse: Wire<webApi.AuthTestResponse>;
  ChatPostMessageResponse: Wire<webApi.ChatPostMessageResponse>;
  ChatUpdateResponse: Wire<webApi.ChatUpdateResponse>;
  UsersInfoResponse: Wire<webApi.UsersInfoResponse>;
  ViewsOpenResponse: Wire<webApi.ViewsOpenResponse>;
  ViewsPublishResponse: Wire<webApi.ViewsPublishResponse>;
}

/** An interaction in a workspace that belongs to no enterprise. */
type Workspace<T> = Omit<T, 'enterprise'> & { enterprise: null };

/** Members of an enumeration are text in JSON. */
type Wire<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Wire<T[K]> } : T;

/** Slack may send more than is declared, so a value is of a subtype. */
export declare function check<K extends keyof Declared>(name: K): <T extends Declared[K]>(value: T) => void;
