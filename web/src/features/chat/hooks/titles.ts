/** What a conversation is called: the others in it. */
export function titleOf(participants: readonly number[], me: number, name: (id: number) => string): string {
  const others = participants.filter((id) => id !== me);
  return others.length === 0 ? 'Notes to yourself' : others.map(name).join(', ');
}
