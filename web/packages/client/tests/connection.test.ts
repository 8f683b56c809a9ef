/** The connection, in a time of its own. */

import { beforeEach, describe, expect, test } from 'vitest';

import { Connection, type Status } from '../src/index.ts';
import { FakeClock, FakeSocket, settled } from './fakes.ts';

let clock: FakeClock;
let sockets: FakeSocket[];
let asked: boolean[];
let online: boolean;
let token: () => Promise<string | null>;

beforeEach(() => {
  clock = new FakeClock();
  sockets = [];
  asked = [];
  online = true;
  token = async () => `token-${asked.length}`;
});

function connection(after?: number): Connection {
  return new Connection({
    url: 'ws://test/ws',
    after,
    clock,
    random: () => 0.5,
    online: () => online,
    token: ({ fresh }) => {
      asked.push(fresh);
      return token();
    },
    open: (url, protocols) => {
      const socket = new FakeSocket(url, protocols);
      sockets.push(socket);
      return socket;
    },
  });
}

const last = (): FakeSocket => sockets.at(-1) as FakeSocket;

async function open(after = 0, head = after): Promise<{ connection: Connection; seqs: number[]; statuses: Status[] }> {
  const made = connection(after);
  const seqs: number[] = [];
  const statuses: Status[] = [];
  made.on('message', ({ seq }) => seqs.push(seq));
  made.on('status', (status) => statuses.push(status));
  made.start();
  await settled();
  last().welcome(head);
  return { connection: made, seqs, statuses };
}

describe('beginning', () => {
  test('the token is a subprotocol and never in the address; it is open with the welcome and not before', async () => {
    const made = connection(7);
    made.start();
    expect(made.status).toEqual({ name: 'connecting', attempt: 1 });
    await settled();
    expect(last().url).toBe('ws://test/ws?after=7');
    expect(last().protocols).toEqual(['parlor.v1', 'token-1']);
    expect(made.send({ type: 'ping' })).toBe(false);
    last().welcome(7);
    expect(made.status).toEqual({ name: 'open', caughtUp: true });
    expect(made.send({ type: 'ping' })).toBe(true);
  });

  test('without a place to resume it begins with what is new, and resumes there later', async () => {
    const made = connection();
    made.start();
    await settled();
    expect(last().url).toBe('ws://test/ws');
    last().welcome(41);
    last().end(1006);
    await clock.pass(1000);
    expect(last().url).toBe('ws://test/ws?after=41');
  });

  test('nobody signed in is told, and it is not tried again', async () => {
    token = async () => null;
    const made = connection(0);
    made.start();
    await clock.pass(120_000);
    expect(made.status).toEqual({ name: 'signedOut' });
    expect(sockets).toHaveLength(0);
  });

  test('a server that never welcomes is left', async () => {
    const made = connection(0);
    made.start();
    await clock.pass(14_999);
    expect(made.status.name).toBe('connecting');
    await clock.pass(2);
    expect(sockets[0]?.closed).toBe(true);
    expect(made.status.name).toBe('waiting');
  });

  test('a stop while the token comes opens nothing', async () => {
    const made = connection(0);
    made.start();
    made.stop();
    await settled();
    expect(sockets).toHaveLength(0);
    expect(made.status.name).toBe('stopped');
    expect(clock.pending).toBe(0);
  });
});

describe('messages', () => {
  test('come in order, each once, however often they are sent', async () => {
    const { seqs } = await open(0, 3);
    for (const seq of [1, 1, 2, 1, 2, 3]) last().message(seq);
    expect(seqs).toEqual([1, 2, 3]);
  });

  test('that come early wait for those in front of them', async () => {
    const { seqs } = await open(0, 4);
    last().message(1);
    last().message(4);
    last().message(3);
    expect(seqs).toEqual([1]);
    last().message(2);
    expect(seqs).toEqual([1, 2, 3, 4]);
    await clock.pass(5_000);
    expect(sockets).toHaveLength(1);
  });

  test('a gap that stays open begins the connection anew behind the last that passed', async () => {
    const { seqs } = await open(10, 13);
    last().message(11);
    last().message(13);
    await clock.pass(2_000);
    expect(sockets[0]?.closed).toBe(true);
    await clock.pass(1_000);
    expect(last().url).toBe('ws://test/ws?after=11');
    last().welcome(13);
    last().message(12);
    last().message(13);
    expect(seqs).toEqual([11, 12, 13]);
  });

  test('too many early ones do the same at once', async () => {
    const { connection: made } = await open(0, 1000);
    for (let seq = 2; seq < 257; seq += 1) last().message(seq);
    expect(made.status.name).toBe('open');
    last().message(257);
    expect(made.status.name).toBe('waiting');
  });

  test('of a socket that was left are not heard', async () => {
    const { seqs } = await open(0, 2);
    const old = last();
    old.end(1006);
    await clock.pass(1_000);
    last().welcome(2);
    old.message(1);
    old.end(1009);
    expect(seqs).toEqual([]);
    last().message(1);
    expect(seqs).toEqual([1]);
  });

  test('caught up is said when everything missed is there', async () => {
    const { connection: made, statuses } = await open(5, 7);
    expect(made.status).toEqual({ name: 'open', caughtUp: false });
    last().message(6);
    expect(made.status).toEqual({ name: 'open', caughtUp: false });
    last().message(7);
    expect(statuses.at(-1)).toEqual({ name: 'open', caughtUp: true });
  });

  test('an inbox that ends before what is known is told, and goes on from its end', async () => {
    const { connection: made, seqs } = await open(50, 20);
    let reset: number | undefined;
    made.on('reset', ({ headSeq }) => (reset = headSeq));
    last().say({ type: 'error', code: 'after_beyond_head', detail: '' });
    expect(reset).toBe(20);
    last().message(21);
    expect(seqs).toEqual([21]);
  });

  test('what is no frame, and frames of a later version, change nothing', async () => {
    const { connection: made, seqs } = await open(0, 1);
    last().onmessage?.({ data: 'no json' });
    last().onmessage?.({ data: new ArrayBuffer(3) });
    last().say({ type: 'somethingNew', seq: 1 });
    last().message(1);
    expect(seqs).toEqual([1]);
    expect(made.status.name).toBe('open');
  });
});

describe('coming back', () => {
  test('waits longer each time, and begins at the beginning after a good connection', async () => {
    const { connection: made } = await open();
    const waits: number[] = [];
    for (let n = 0; n < 8; n += 1) {
      last().end(1006);
      const { status } = made;
      if (status.name !== 'waiting') throw new Error(status.name);
      waits.push(status.until - clock.now());
      await clock.pass(status.until - clock.now());
    }
    // 0.2 and half of 0.8 of 0.5, 1, 2 … 30 s.
    expect(waits).toEqual([300, 600, 1_200, 2_400, 4_800, 9_600, 18_000, 18_000]);
    last().welcome();
    last().end(1006);
    expect(made.status).toMatchObject({ name: 'waiting', attempt: 1, until: clock.now() + 300 });
  });

  test('somebody who does not want to wait', async () => {
    const { connection: made } = await open();
    last().end(1006);
    made.retryNow();
    await settled();
    expect(sockets).toHaveLength(2);
    await clock.pass(60_000);
    expect(sockets.filter((socket) => !socket.closed)).toHaveLength(1);
  });

  test('no network: it waits for one and not for the time', async () => {
    const { connection: made } = await open();
    online = false;
    last().end(1006);
    expect(made.status).toEqual({ name: 'offline' });
    await clock.pass(3_600_000);
    expect(sockets).toHaveLength(1);
    online = true;
    made.wake();
    await settled();
    expect(sockets).toHaveLength(2);
  });

  test('the network goes while it waits', async () => {
    const { connection: made } = await open();
    last().end(1006);
    made.sleep();
    expect(made.status.name).toBe('offline');
    await clock.pass(60_000);
    expect(sockets).toHaveLength(1);
  });

  test('a line on which nothing is heard is asked, then given up', async () => {
    const { connection: made } = await open();
    await clock.pass(25_000);
    expect(last().of('ping')).toHaveLength(1);
    last().say({ type: 'pong' });
    await clock.pass(25_000);
    expect(last().of('ping')).toHaveLength(2);
    expect(made.status.name).toBe('open');
    await clock.pass(24_999);
    expect(made.status.name).toBe('open');
    await clock.pass(1);
    expect(made.status.name).toBe('waiting');
  });

  test('a machine that wakes up looks at once', async () => {
    const { connection: made } = await open();
    made.wake();
    expect(last().of('ping')).toHaveLength(1);
    await clock.pass(4_999);
    expect(made.status.name).toBe('open');
    await clock.pass(1);
    expect(made.status.name).toBe('waiting');
  });

  test.each([[1002], [1003], [1007], [1009]])('%i is our fault: it does not come back', async (code) => {
    const { connection: made } = await open();
    last().end(code, 'because');
    expect(made.status).toEqual({ name: 'broken', code, detail: 'because' });
    await clock.pass(600_000);
    expect(sockets).toHaveLength(1);
  });

  test.each([[1000], [1001], [1005], [1006], [1011], [1012], [4408], [4429], [4508]])('%i: it comes back with what it missed', async (code) => {
    const { seqs } = await open(0, 1);
    last().message(1);
    last().end(code);
    await clock.pass(30_000);
    expect(last().url).toBe('ws://test/ws?after=1');
    last().welcome(2);
    last().message(2);
    expect(seqs).toEqual([1, 2]);
  });
});

describe('a server that stops', () => {
  test('is left alone for as long as it says, also when it closes before', async () => {
    const { connection: made } = await open();
    last().say({ type: 'reconnect', afterMs: 1_700 });
    expect(made.status.name).toBe('open');
    await clock.pass(400);
    last().end(1012);
    expect(made.status).toMatchObject({ name: 'waiting', reason: 'restart', until: clock.now() + 1_300 });
    await clock.pass(1_299);
    expect(sockets).toHaveLength(1);
    await clock.pass(1);
    expect(sockets).toHaveLength(2);
  });

  test('that does not close is left when its time has come, and messages of its last moments count', async () => {
    const { seqs } = await open(0, 0);
    last().say({ type: 'reconnect', afterMs: 1_000 });
    last().message(1);
    await clock.pass(1_000);
    expect(sockets[0]?.closed).toBe(true);
    expect(last().url).toBe('ws://test/ws?after=1');
    expect(seqs).toEqual([1]);
  });
});

describe('tokens', () => {
  test('one that ends soon is renewed on the connection that is there', async () => {
    await open();
    last().say({ type: 'tokenExpiring', tokenExpiresAt: new Date(clock.now() + 60_000).toISOString() });
    await clock.pass(29_999);
    expect(asked).toEqual([false]);
    await clock.pass(1);
    expect(asked).toEqual([false, true]);
    expect(last().of('refreshToken')).toEqual([{ type: 'refreshToken', accessToken: 'token-2' }]);
    expect(sockets).toHaveLength(1);
  });

  test('one that lives for less than the warning is not renewed without pause', async () => {
    await open();
    for (let n = 0; n < 3; n += 1) {
      last().say({ type: 'tokenExpiring', tokenExpiresAt: new Date(clock.now() + 12_000).toISOString() });
      await clock.pass(6_000);
    }
    expect(last().of('refreshToken')).toHaveLength(3);
  });

  test.each([['in the past', -60_000, 0], ['far ahead', 3_600_000, 30_000]])('an end that a wrong clock sees %s', async (_, left, wait) => {
    await open();
    last().say({ type: 'tokenExpiring', tokenExpiresAt: new Date(clock.now() + left).toISOString() });
    await clock.pass(wait);
    expect(last().of('refreshToken')).toHaveLength(1);
  });

  test('one that was refused is not used again', async () => {
    const { connection: made } = await open();
    last().end(4401);
    expect(made.status).toMatchObject({ name: 'waiting', reason: 'refused' });
    await clock.pass(1_000);
    expect(asked).toEqual([false, true]);
    last().welcome();
    last().end(1006);
    await clock.pass(1_000);
    expect(asked).toEqual([false, true, false]);
  });

  test('a login that has ended in the meantime is told', async () => {
    const { connection: made } = await open();
    token = async () => null;
    last().end(4401);
    await clock.pass(60_000);
    expect(made.status).toEqual({ name: 'signedOut' });
  });

  test('a token that cannot be had now is asked for again', async () => {
    token = async () => {
      throw new Error('no network');
    };
    const made = connection(0);
    made.start();
    await clock.pass(1_000);
    expect(made.status.name).toBe('waiting');
    token = async () => 'good';
    await clock.pass(30_000);
    expect(last().protocols).toEqual(['parlor.v1', 'good']);
  });
});
