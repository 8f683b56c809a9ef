/** Somebody as two letters on a colour that is always theirs. */

export function Avatar({ name, id, online, group = false }: { name: string; id: number | string; online?: boolean; group?: boolean }) {
  const letters = group ? name : name.replace(/[^\p{L}\p{N}]/gu, '').slice(0, 2) || name.slice(0, 1);
  const tone = typeof id === 'number' ? id % 8 : [...id].reduce((sum, c) => sum + (c.codePointAt(0) ?? 0), 0) % 8;
  return (
    <span className={`avatar tone-${tone}`} aria-hidden="true">
      {letters.toUpperCase()}
      {online && <span className="avatar-dot" />}
    </span>
  );
}
