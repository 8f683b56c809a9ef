/** The frames of `parlor.v1`; docs/asyncapi.yaml describes each. */

export type ClientFrame =
  | { type: 'sendMessage'; messageBody: string; recipientIds: readonly number[]; clientMessageId: string }
  | { type: 'markRead'; conversationId: string; seq: number }
  | { type: 'typing'; recipientIds: readonly number[] }
  | { type: 'refreshToken'; accessToken: string }
  | { type: 'ping' };

export interface Message {
  seq: number;
  messageUid: string;
  conversationId: string;
  senderId: number;
  recipientIds: number[];
  messageBody: string;
  fromAutoReply: boolean;
  sentAt: string;
}

export interface Welcome {
  type: 'welcome';
  sessionId: string;
  userId: number;
  headSeq: number;
  pingIntervalSeconds: number;
  maxMessageBytes: number;
  tokenExpiresAt: string;
}

export interface ScriptFailed {
  type: 'scriptFailed';
  direction: 'incoming' | 'outgoing';
  version: number;
  messageUid: string;
  reason: string;
  detail: string;
  line: number | null;
}

export type ServerFrame =
  | Welcome
  | { type: 'accepted'; clientMessageId: string | null; messageUid: string }
  | { type: 'rejected'; clientMessageId: string | null; code: string; detail: string }
  | ({ type: 'message' } & Message)
  | { type: 'read'; conversationId: string; userId: number; seq: number }
  | { type: 'typing'; userId: number; conversationId: string }
  | { type: 'presence'; userId: number; online: boolean }
  | ScriptFailed
  | { type: 'tokenExpiring'; tokenExpiresAt: string }
  | { type: 'reconnect'; afterMs: number }
  | { type: 'pong' }
  | { type: 'error'; code: string; detail: string };

const KNOWN = new Set<string>([
  'welcome', 'accepted', 'rejected', 'message', 'read', 'typing', 'presence', 'scriptFailed', 'tokenExpiring',
  'reconnect', 'pong', 'error',
]);

/** Reads a frame; nothing for what is no JSON, and for kinds that this version does not know. */
export function readFrame(text: unknown): ServerFrame | undefined {
  if (typeof text !== 'string') return undefined;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || !('type' in value)) return undefined;
    return typeof value.type === 'string' && KNOWN.has(value.type) ? (value as ServerFrame) : undefined;
  } catch {
    return undefined;
  }
}

/** Whether, and how, to come back after the server closed a socket. */
export type ComeBack = 'yes' | 'withNewToken' | 'withBackOff' | 'no';

/** `x-close-codes` of docs/asyncapi.yaml. What is not in there (1005, 1006: the line broke) is worth another attempt. */
export function comeBack(code: number): ComeBack {
  switch (code) {
    case 1002: case 1003: case 1007: case 1009: return 'no';
    case 1011: case 4429: return 'withBackOff';
    case 4401: return 'withNewToken';
    case 1012: case 4408: case 4508: return 'yes';
    default: return 'withBackOff';
  }
}
