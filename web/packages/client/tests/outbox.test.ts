/** What was written is sent once, in order, whatever happens in between. */

import { beforeEach, expect, test } from 'vitest';

import { Connection, Outbox } from '../src/index.ts';
import { FakeClock, FakeSocket, FakeStorage, settled } from './fakes.ts';

let clock: FakeClock;
let storage: FakeStorage;
let sockets: FakeSocket[];
let connection: Connection;
let outbox: Outbox;
let ids: number;

beforeEach(async () => {
  clock = new FakeClock();
  storage = new FakeStorage();
  ids = 0;
  await load();
});

/** A page that is opened, or opened again. */
async function load(): Promise<void> {
  sockets = [];
  connection = new Connection({
    url: 'ws://test/ws', after: 0, clock, random: () => 0.5, online: () => true, token: async () => 't',
    open: (url, protocols) => sockets[sockets.push(new FakeSocket(url, protocols)) - 1] as FakeSocket,
  });
  outbox = another();
  connection.start();
  await settled();
}

const another = (userId = 1): Outbox => new Outbox({ connection, storage, userId, newId: () => `id-${(ids += 1)}`, clock, random: () => 0.5 });
const last = (): FakeSocket => sockets.at(-1) as FakeSocket;
const bodies = (): unknown[] => last().of('sendMessage').map((frame) => frame.messageBody);
const states = (): string[] => outbox.entries.map((entry) => `${entry.body}: ${entry.state.name}`);
const say = (body: string) => outbox.add({ body, recipientIds: [2] });
const accept = (id: string, uid = `uid-${id}`) => last().say({ type: 'accepted', clientMessageId: id, messageUid: uid });
const reject = (id: string, code: string) => last().say({ type: 'rejected', clientMessageId: id, code, detail: 'because' });

test('one at a time, in the order written; gone when its message has come', () => {
  last().welcome();
  say('a');
  say('b');
  expect(bodies()).toEqual(['a']);
  accept('id-1');
  expect(bodies()).toEqual(['a', 'b']);
  expect(states()).toEqual(['a: accepted', 'b: sending']);
  last().message(1, { messageUid: 'uid-id-1' });
  expect(states()).toEqual(['b: sending']);
  expect(storage.map.size).toBe(1);
});

test('the message may come before the word that it was accepted', () => {
  last().welcome();
  say('a');
  last().message(1, { messageUid: 'uid-id-1' });
  accept('id-1');
  expect(states()).toEqual([]);
  expect(storage.map.size).toBe(0);
});

test('the message may be known from a history that was read after a reload', async () => {
  last().welcome();
  say('a');
  say('b');
  await load();
  outbox.came('uid-id-1');
  last().welcome();
  accept('id-1');
  expect(states()).toEqual(['b: sending']);
  accept('id-2');
  expect(states()).toEqual(['b: accepted']);
  outbox.came('uid-id-2');
  expect(states()).toEqual([]);
});

test('what was under way when the connection broke is sent again under the same name', async () => {
  last().welcome();
  say('a');
  last().end(1006);
  expect(states()).toEqual(['a: sending']);
  await clock.pass(1_000);
  last().welcome();
  expect(last().of('sendMessage')).toEqual([{ type: 'sendMessage', messageBody: 'a', recipientIds: [2], clientMessageId: 'id-1' }]);
});

test('a reload in the middle: sent once more, before anything newer, and kept until it is accepted', async () => {
  last().welcome();
  say('a');
  say('b');
  await load();
  expect(states()).toEqual(['a: sending', 'b: sending']);
  say('c');
  last().welcome();
  accept('id-1');
  accept('id-2');
  expect(bodies()).toEqual(['a', 'b', 'c']);
  expect(last().of('sendMessage').map((frame) => frame.clientMessageId)).toEqual(['id-1', 'id-2', 'id-3']);
});

test('no answer at all: asked again after a while', async () => {
  last().welcome();
  say('a');
  await clock.pass(9_999);
  expect(bodies()).toEqual(['a']);
  last().say({ type: 'pong' });
  await clock.pass(1);
  expect(bodies()).toEqual(['a', 'a']);
});

test.each(['rate_limited', 'stopping', 'unavailable'])('%s: again later, and nothing overtakes it', async (code) => {
  last().welcome();
  say('a');
  say('b');
  reject('id-1', code);
  expect(bodies()).toEqual(['a']);
  expect(states()).toEqual(['a: sending', 'b: sending']);
  await clock.pass(300);
  expect(bodies()).toEqual(['a', 'a']);
  accept('id-1');
  expect(bodies()).toEqual(['a', 'a', 'b']);
});

test('what the server will not have is kept as failed, over a reload, until somebody decides', async () => {
  last().welcome();
  say('a');
  say('b');
  reject('id-1', 'unknown_recipient');
  expect(states()).toEqual(['a: failed', 'b: sending']);
  expect(bodies()).toEqual(['a', 'b']);
  accept('id-2');
  await load();
  last().welcome();
  expect(states()).toEqual(['a: failed']);
  expect(bodies()).toEqual([]);
  outbox.retry('id-1');
  expect(bodies()).toEqual(['a']);
  reject('id-1', 'unknown_recipient');
  outbox.discard('id-1');
  expect(states()).toEqual([]);
  expect(storage.map.size).toBe(0);
});

test('only what failed can be thrown away', () => {
  say('a');
  outbox.discard('id-1');
  expect(states()).toEqual(['a: sending']);
});

test('another tab sees it, leaves it to its writer, and sends it when that is gone', async () => {
  last().welcome();
  const other = new Connection({
    url: 'ws://test/ws', after: 0, clock, online: () => true, token: async () => 't',
    open: (url, protocols) => sockets[sockets.push(new FakeSocket(url, protocols)) - 1] as FakeSocket,
  });
  const theirs = new Outbox({ connection: other, storage, userId: 1, newId: () => 'theirs', clock });
  theirs.add({ body: 'from the other tab', recipientIds: [2] });
  outbox.storageChanged('parlor.outbox.1.theirs');
  expect(states()).toEqual(['from the other tab: sending']);
  await clock.pass(4_999);
  expect(bodies()).toEqual([]);
  await clock.pass(1);
  expect(bodies()).toEqual(['from the other tab']);
});

test('what another tab got accepted is not sent here', async () => {
  last().welcome();
  storage.setItem('parlor.outbox.1.x', JSON.stringify({ id: 'x', body: 'theirs', recipientIds: [2], createdAt: 1, state: { name: 'sending' } }));
  outbox.storageChanged('parlor.outbox.1.x');
  storage.removeItem('parlor.outbox.1.x');
  outbox.storageChanged('parlor.outbox.1.x');
  expect(states()).toEqual([]);
  await clock.pass(20_000);
  expect(bodies()).toEqual([]);
});

test('what another user of this browser wrote is neither shown nor sent', () => {
  say('mine');
  const theirs = another(9);
  last().welcome();
  expect(theirs.entries).toEqual([]);
});

test('damaged and foreign entries are left alone', async () => {
  storage.setItem('parlor.outbox.1.bad', '{');
  storage.setItem('parlor.outbox.1.odd', '{"id":"odd","body":3}');
  storage.setItem('theme', 'dark');
  await load();
  expect(outbox.entries).toEqual([]);
  expect(storage.map.size).toBe(3);
});

test('a storage that is full: the message is sent all the same', () => {
  storage.full = true;
  last().welcome();
  say('a');
  expect(bodies()).toEqual(['a']);
});

test('two written in the same millisecond keep their order', async () => {
  for (const body of ['a', 'b', 'c']) say(body);
  await load();
  expect(outbox.entries.map((entry) => entry.body)).toEqual(['a', 'b', 'c']);
});

test('what is written before it is known to whom is kept, holds nobody up, and goes when it is known', async () => {
  last().welcome();
  outbox.add({ body: 'early', conversationId: 'c1' });
  outbox.add({ body: 'and more', conversationId: 'c1' });
  say('to somebody else');
  expect(bodies()).toEqual(['to somebody else']);
  accept('id-3');
  await load();
  last().welcome();
  expect(states()).toEqual(['early: sending', 'and more: sending']);
  expect(outbox.unaddressed).toEqual(['c1']);
  outbox.address('c2', [9]);
  expect(bodies()).toEqual([]);
  outbox.address('c1', [4, 5]);
  expect(outbox.unaddressed).toEqual([]);
  accept('id-1');
  const frame = { type: 'sendMessage', recipientIds: [4, 5] };
  expect(last().of('sendMessage')).toEqual([
    { ...frame, messageBody: 'early', clientMessageId: 'id-1' },
    { ...frame, messageBody: 'and more', clientMessageId: 'id-2' },
  ]);
  // To whom it goes is kept too: a reload now sends it again, to the same.
  await load();
  last().welcome();
  expect(last().of('sendMessage')).toEqual([{ ...frame, messageBody: 'and more', clientMessageId: 'id-2' }]);
});
