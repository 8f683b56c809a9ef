/** A connection to Parlor that survives what networks do. README.md shows how to use it. */

export { backOff, systemClock, type Clock } from './clock.ts';
export { Connection, type ConnectionEvents, type ConnectionOptions, type SocketLike, type Status } from './connection.ts';
export { Cursor } from './cursor.ts';
export { Events } from './events.ts';
export { comeBack, readFrame, type ClientFrame, type Message, type ScriptFailed, type ServerFrame, type Welcome } from './frames.ts';
export { Outbox, type Entry, type EntryState, type KeyValue } from './outbox.ts';
export { TokenKeeper, type Access, type Grant, type KeeperOptions, type Login, type LoginStore, type Refusal, type User } from './tokens.ts';
