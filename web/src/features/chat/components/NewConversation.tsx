/** Begins a conversation with one or several people, found by their names. */

import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { useEffect, useId, useRef, useState, type KeyboardEvent } from 'react';
import { useLocation } from 'wouter';

import { Avatar } from '@/components/Avatar.tsx';
import { Button } from '@/components/Button.tsx';
import { Dialog } from '@/components/Dialog.tsx';
import { Icon } from '@/components/Icon.tsx';

import { searchPeople, type Person } from '../api/people.ts';
import { useConversations } from '../hooks/useConversations.ts';
import { useLive } from '../hooks/useLive.tsx';

export function NewConversation({ onClose }: { onClose: () => void }) {
  const { user } = useLive();
  const [, navigate] = useLocation();
  const { data: conversations } = useConversations();
  const [text, setText] = useState('');
  const [chosen, setChosen] = useState<Person[]>([]);
  const [active, setActive] = useState(0);
  const field = useRef<HTMLInputElement>(null);
  const id = useId();
  const search = useLate(text.trim(), 150);
  const { data, isFetching } = useQuery({
    queryKey: ['people', search],
    queryFn: ({ signal }) => searchPeople(search, signal),
    placeholderData: keepPreviousData,
  });
  const found = (data ?? []).filter((person) => !chosen.some((one) => one.id === person.id) && person.id !== user.id);
  const at = Math.min(active, found.length - 1);

  const choose = (person: Person | undefined) => {
    if (!person) return;
    setChosen([...chosen, person]);
    setText('');
    setActive(0);
    field.current?.focus();
  };
  const begin = () => {
    const others = chosen.map((person) => person.id).sort((a, b) => a - b);
    const wanted = [...others, user.id].sort((a, b) => a - b).join();
    const known = conversations?.find((item) => item.participants.join() === wanted);
    onClose();
    navigate(known ? `/c/${known.conversationId}` : `/c/new/${others.join('-')}`);
  };
  const key = (event: KeyboardEvent) => {
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      const step = event.key === 'ArrowDown' ? 1 : -1;
      setActive((at + step + found.length) % Math.max(1, found.length));
    } else if (event.key === 'Enter') {
      event.preventDefault();
      if (text.trim() === '' && chosen.length > 0) begin();
      else choose(found[at]);
    } else if (event.key === 'Backspace' && text === '') {
      setChosen(chosen.slice(0, -1));
    }
  };
  return (
    <Dialog title="New conversation" onClose={onClose}>
      <div className="people-field">
        {chosen.map((person) => (
          <button key={person.id} type="button" className="person-chip" aria-label={`Remove ${person.username}`}
            onClick={() => setChosen(chosen.filter((one) => one.id !== person.id))}>
            {person.username}<Icon name="close" />
          </button>
        ))}
        <input ref={field} data-first role="combobox" aria-label="Find people by name" aria-expanded={found.length > 0} aria-controls={`${id}-list`}
          aria-activedescendant={found.length > 0 ? `${id}-${at}` : undefined} aria-autocomplete="list" autoComplete="off" autoCapitalize="none"
          spellCheck={false} placeholder={chosen.length === 0 ? 'Whom do you want to write to?' : 'Somebody else too?'} value={text}
          onChange={(event) => setText(event.target.value)} onKeyDown={key} />
      </div>
      <ul className="people-list" role="listbox" id={`${id}-list`} aria-label="People" aria-busy={isFetching}>
        {found.map((person, n) => (
          <li key={person.id} id={`${id}-${n}`} role="option" aria-selected={n === at} className={n === at ? 'person active' : 'person'}
            onMouseMove={() => setActive(n)} onClick={() => choose(person)}>
            <Avatar name={person.username} id={person.id} /><span>{person.username}</span>
          </li>
        ))}
      </ul>
      {found.length === 0 && !isFetching && (
        <p className="hint centred">{search ? `Nobody's name begins with “${search}”.` : 'Nobody else is here yet. Tell somebody the address of this page.'}</p>
      )}
      <footer className="dialog-foot">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="primary" disabled={chosen.length === 0} onClick={begin}>
          {chosen.length > 1 ? `Write to ${chosen.length} people` : 'Write'}
        </Button>
      </footer>
    </Dialog>
  );
}

/** A value once it has not changed for a while. */
function useLate<T>(value: T, ms: number): T {
  const [late, setLate] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setLate(value), ms);
    return () => clearTimeout(timer);
  }, [value, ms]);
  return late;
}
