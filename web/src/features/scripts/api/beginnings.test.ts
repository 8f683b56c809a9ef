/** What changes with the language of a draft, and what does not. */

import { expect, test } from 'vitest';

import { beginning, translated } from './beginnings.ts';

test('a beginning that nobody has touched changes its language, there and back', () => {
  for (const direction of ['incoming', 'outgoing'] as const) {
    const jolie = translated(beginning('luau', direction), 'jolie' as never, direction);
    expect(jolie).toContain('main {');
    expect(translated(jolie, 'luau', direction)).toBe(beginning('luau', direction));
  }
  expect(translated(' \n', 'luau', 'incoming')).toBe(beginning('luau', 'incoming'));
});

test('what somebody wrote stays', () => {
  const mine = `${beginning('luau', 'incoming')}-- mine`;
  expect(translated(mine, 'jolie' as never, 'incoming')).toBe(mine);
  // A beginning of the other direction is somebody's doing.
  expect(translated(beginning('luau', 'outgoing'), 'jolie' as never, 'incoming')).toBe(beginning('luau', 'outgoing'));
});
