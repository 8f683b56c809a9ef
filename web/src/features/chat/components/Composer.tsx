/** Where one writes. What is written here and not sent survives a reload. */

import { useEffect, useLayoutEffect, useRef, useState, type KeyboardEvent } from 'react';

import { IconButton } from '@/components/Button.tsx';
import { bytes } from '@/lib/format.ts';
import { keep, storage } from '@/lib/storage.ts';

import { useLive } from '../hooks/useLive.tsx';
import { draftPlace } from '../api/drafts.ts';
import { EmojiPicker } from './EmojiPicker.tsx';

const encoder = new TextEncoder();

interface ComposerProps {
  draftKey: string;
  /** Where, if it is a conversation yet. */
  conversationId?: string;
  /** To whom, once that is known: in the first moment of a page it is not. */
  recipientIds?: readonly number[];
  label: string;
}

export function Composer({ draftKey, conversationId, recipientIds, label }: ComposerProps) {
  const live = useLive();
  const place = draftPlace(live.user.id, draftKey);
  const [text, setText] = useState(() => storage.getItem(place) ?? '');
  const [emoji, setEmoji] = useState(false);
  const field = useRef<HTMLTextAreaElement>(null);
  // A byte is at most a third of what a character of UTF-16 takes: counted only where it may matter.
  const size = text.length * 3 > live.maxMessageBytes ? encoder.encode(text).length : 0;
  const tooLong = size > live.maxMessageBytes;
  const ready = text.trim() !== '' && !tooLong;

  // Before the next key: a new conversation gets its own composer while somebody types in it.
  useLayoutEffect(() => {
    const element = field.current;
    element?.setSelectionRange(element.value.length, element.value.length);
    // Keyboards of phones cover half the screen: there one touches the field oneself.
    if (matchMedia('(pointer: fine)').matches) element?.focus();
  }, []);
  useLayoutEffect(() => {
    const element = field.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${Math.min(element.scrollHeight, 200)}px`;
  }, [text]);
  useEffect(() => {
    const changed = ({ key, newValue }: StorageEvent) => {
      // Another tab wrote here, and this one is not being written in.
      if (key === place && document.activeElement !== field.current) setText(newValue ?? '');
    };
    window.addEventListener('storage', changed);
    return () => window.removeEventListener('storage', changed);
  }, [place]);

  const write = (next: string) => {
    setText(next);
    // Where there is no room, the draft lives as long as this tab.
    if (next === '') storage.removeItem(place);
    else keep(place, next);
    if (next !== '' && recipientIds) live.typing(recipientIds);
  };
  const send = () => {
    if (!ready) return;
    live.write(text, { conversationId, recipientIds });
    write('');
    field.current?.focus();
  };
  const key = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    send();
  };
  const closeEmoji = () => {
    setEmoji(false);
    field.current?.focus();
  };
  const insert = (what: string) => {
    const element = field.current;
    const at = element?.selectionStart ?? text.length;
    write(text.slice(0, at) + what + text.slice(element?.selectionEnd ?? at));
    setEmoji(false);
    requestAnimationFrame(() => {
      element?.focus();
      element?.setSelectionRange(at + what.length, at + what.length);
    });
  };
  return (
    <div className="composer">
      {emoji && <EmojiPicker onPick={insert} onClose={closeEmoji} />}
      {tooLong && <p className="composer-note" role="alert">Too long: {bytes(size)} of at most {bytes(live.maxMessageBytes)}.</p>}
      <div className="composer-box">
        <IconButton icon="smile" label="Emoji" aria-expanded={emoji} onClick={() => setEmoji(!emoji)} />
        <textarea ref={field} rows={1} aria-label={label ? `Message to ${label}` : 'Message'} placeholder="Write a message" value={text} dir="auto"
          onChange={(event) => write(event.target.value)} onKeyDown={key} />
        <IconButton icon="send" label="Send" className="send" disabled={!ready} onClick={send} />
      </div>
    </div>
  );
}
