/** What is unhealthy, in words. */

import { expect, test } from 'vitest';

import { complaints, remarks } from './complaints.ts';

const node = (id: string, more: object = {}) => ({ id, version: '1', stages: ['gateway', 'outgoing', 'incoming', 'auto-reply', 'router'], draining: false, ...more });

test('all is well', () => {
  expect(complaints([node('0')], undefined)).toEqual([]);
});

test('what is missing is said, of those that go on running', () => {
  const found = complaints([node('0', { draining: true }), node('1', { stages: ['gateway', 'router'], version: '2' })], undefined);
  expect(found.join('\n')).toBe(
    'Node 0 is stopping: it hands its connections over and finishes what it has.\n' +
    'No running node does “outgoing”: messages wait there.\nNo running node does “incoming”: messages wait there.\nNo running node does “auto-reply”: messages wait there.\n' +
    'The nodes run different versions: 1, 2.',
  );
});

test('a language that is not here is remarked upon, and is nothing wrong', () => {
  const languages = [{ name: 'Luau', available: true }, { name: 'Jolie', available: false, reason: 'no java' }];
  expect(remarks(languages)).toEqual(['Scripts in Jolie do not run here: no java.']);
  expect(remarks(undefined)).toEqual([]);
});
