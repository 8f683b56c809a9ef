/** A window over a long conversation: bounded, without a gap, without a repeat, whichever way one goes. */

import { expect, test } from 'vitest';

import type { Message } from '@parlor/client';

import { append, inOrder, Marks, PAGE, PAGES, type Before, type MessagePage, type Timeline } from './timeline.ts';

const message = (seq: number): Message => ({
  seq, messageUid: `u${seq}`, conversationId: 'c', senderId: 1, recipientIds: [2], messageBody: `${seq}`, fromAutoReply: false, sentAt: '2026-01-01T00:00:00Z',
});

/** A server with a history, and what TanStack Query does with `maxPages`. */
class Reader {
  marks = new Marks();
  timeline: Timeline = { pages: [], pageParams: [] };
  history: number[];

  constructor(history: number[]) {
    this.history = history;
    this.timeline = { pages: [this.page(null)], pageParams: [null] };
  }

  page(before: Before): MessagePage {
    const older = this.history.filter((seq) => before === null || seq < before);
    const items = older.slice(-PAGE).reverse().map(message);
    const first = older.length <= PAGE;
    if (before === null && this.timeline.pages.length > 0) return { items: this.marks.end(items), first: false };
    if (before === null) this.marks.begin(items.length);
    if (!first) this.marks.older(items.at(-1)?.seq ?? 0);
    return { items, first };
  }

  older(): void {
    const last = this.timeline.pages.at(-1) as MessagePage;
    if (last.first) return;
    const before = last.items.at(-1)?.seq ?? 0;
    this.timeline = { pages: [...this.timeline.pages, this.page(before)].slice(-PAGES), pageParams: [...this.timeline.pageParams, before].slice(-PAGES) };
  }

  newer(): boolean {
    const before = this.marks.newer(this.timeline.pageParams[0] as Before);
    if (before === undefined) return false;
    this.timeline = { pages: [this.page(before), ...this.timeline.pages].slice(0, PAGES), pageParams: [before, ...this.timeline.pageParams].slice(0, PAGES) };
    return true;
  }

  arrive(seq: number): void {
    this.history.push(seq);
    this.timeline = append(this.timeline, [message(seq)], this.marks);
  }

  get seqs(): number[] {
    return inOrder(this.timeline).map(({ seq }) => seq);
  }
}

const upTo = (n: number): number[] => Array.from({ length: n }, (_, at) => (at + 1) * 3);

/** What is shown is a piece of the history, whole. */
function whole({ seqs, history }: Reader): void {
  const from = history.indexOf(seqs[0] as number);
  expect(seqs).toEqual(history.slice(from, from + seqs.length));
  expect(seqs.length).toBeLessThanOrEqual(PAGE * PAGES);
}

test('to the beginning and back to the end, through ten thousand messages', () => {
  const reader = new Reader(upTo(10_000));
  for (let n = 0; n < 10_000 / PAGE + 10; n += 1) reader.older();
  expect(reader.seqs[0]).toBe(3);
  whole(reader);
  let steps = 0;
  while (reader.newer()) steps += 1;
  expect(steps).toBeGreaterThan(10_000 / PAGE - PAGES - 2);
  expect(reader.seqs.at(-1)).toBe(30_000);
  whole(reader);
});

test.each([1, PAGE - 1, PAGE, PAGE + 1, 120, 777])('%i messages that come while one reads further up leave no gap on the way back', (more) => {
  const reader = new Reader(upTo(1_000));
  for (let n = 0; n < 2 * PAGES; n += 1) reader.older();
  for (let n = 0; n < more; n += 1) {
    reader.arrive(10_000 + n);
    whole(reader);
  }
  while (reader.newer()) whole(reader);
  expect(reader.seqs.at(-1)).toBe(10_000 + more - 1);
});

test('messages that come at the end are shown, and the window stays bounded', () => {
  const reader = new Reader(upTo(30));
  for (let n = 0; n < 2_000; n += 1) reader.arrive(1_000 + n);
  whole(reader);
  expect(reader.seqs.at(-1)).toBe(2_999);
  expect(reader.seqs.length).toBeGreaterThan(PAGE * (PAGES - 1));
  for (let n = 0; n < 2_030 / PAGE + 10; n += 1) reader.older();
  whole(reader);
  expect(reader.seqs[0]).toBe(3);
});

test('one that is known already is not added again', () => {
  const reader = new Reader(upTo(10));
  const before = reader.timeline;
  reader.timeline = append(reader.timeline, [message(30)], reader.marks);
  expect(reader.timeline).toBe(before);
});
