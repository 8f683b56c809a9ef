/** What is unhealthy, in words. */

import { expect, test } from 'vitest';

import { complaints } from './complaints.ts';

const node = (id: string, more: object = {}) => ({ id, version: '1', stages: ['gateway', 'outgoing', 'incoming', 'auto-reply', 'router'], draining: false, ...more });

test('all is well', () => {
  expect(complaints([node('0')], undefined, [{ name: 'Luau', available: true }])).toEqual([]);
});

test('what is missing is said, of those that go on running', () => {
  const found = complaints([node('0', { draining: true }), node('1', { stages: ['gateway', 'router'], version: '2' })], undefined, [{ name: 'Jolie', available: false, reason: 'no java' }]);
  expect(found.join('\n')).toBe(
    'Node 0 is stopping: it hands its connections over and finishes what it has.\n' +
    'No running node does “outgoing”: messages wait there.\nNo running node does “incoming”: messages wait there.\nNo running node does “auto-reply”: messages wait there.\n' +
    'The nodes run different versions: 1, 2.\nScripts in Jolie do not run here: no java.',
  );
});
