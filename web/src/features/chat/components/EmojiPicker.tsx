/** A small choice of emoji; all others come from the system's own picker. */

import { useEffect, useRef, type KeyboardEvent } from 'react';

const EMOJI: [string, string][] = [
  ['🙂', 'smile'], ['😀', 'grin'], ['😂', 'laughing tears'], ['😉', 'wink'], ['😍', 'heart eyes'], ['😎', 'cool'], ['🤔', 'thinking'], ['😅', 'relieved'],
  ['😢', 'crying'], ['😡', 'angry'], ['😱', 'shocked'], ['😴', 'sleeping'], ['🤗', 'hug'], ['🤷', 'shrug'], ['🙈', 'not looking'], ['🥳', 'party'],
  ['👍', 'thumb up'], ['👎', 'thumb down'], ['👏', 'clapping'], ['🙏', 'thanks'], ['👋', 'wave'], ['💪', 'strong'], ['✌️', 'victory'], ['🤝', 'handshake'],
  ['❤️', 'heart'], ['🔥', 'fire'], ['⭐', 'star'], ['🎉', 'confetti'], ['✅', 'done'], ['❌', 'no'], ['❓', 'question'], ['💡', 'idea'],
  ['☕', 'coffee'], ['🍕', 'pizza'], ['🎂', 'cake'], ['🌧️', 'rain'], ['☀️', 'sun'], ['🏠', 'home'], ['🚀', 'rocket'], ['🐛', 'bug'],
];
const COLUMNS = 8;

export function EmojiPicker({ onPick, onClose }: { onPick: (emoji: string) => void; onClose: () => void }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.querySelector('button')?.focus(), []);
  const key = (event: KeyboardEvent) => {
    const buttons = [...(box.current?.querySelectorAll('button') ?? [])];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: COLUMNS, ArrowUp: -COLUMNS }[event.key];
    if (event.key === 'Escape') onClose();
    else if (step !== undefined) buttons[(at + step + buttons.length) % buttons.length]?.focus();
    else return;
    event.preventDefault();
  };
  return (
    <div className="emoji" ref={box} role="group" aria-label="Emoji" onKeyDown={key}>
      {EMOJI.map(([emoji, name]) => <button key={emoji} type="button" aria-label={name} title={name} onClick={() => onPick(emoji)}>{emoji}</button>)}
    </div>
  );
}
