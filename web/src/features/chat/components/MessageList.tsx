/** What was said, by day; older and newer pages come as one gets near them. */

import { useQueryClient } from '@tanstack/react-query';
import { Fragment, useCallback, useEffect, useMemo, useRef, useState } from 'react';

import type { Entry, Message } from '@parlor/client';

import { Icon } from '@/components/Icon.tsx';
import { Loading, Trouble } from '@/components/States.tsx';
import { dayName, dayOf } from '@/lib/format.ts';

import type { Conversation } from '../api/conversations.ts';
import { messagesKey } from '../api/live.ts';
import { useLive, useStatus } from '../hooks/useLive.tsx';
import { useReads, type useMessages } from '../hooks/useMessages.ts';
import { useScroll } from '../hooks/useScroll.ts';
import { MessageRow, PendingRow } from './MessageRow.tsx';

/** So near to the first or last row the next page is asked for. */
const AHEAD = 1_500;
/** Messages of one sender within this time stand together. */
const TOGETHER_MS = 5 * 60_000;

interface MessageListProps {
  conversationId: string;
  history: ReturnType<typeof useMessages>;
  listed?: Conversation;
  pending: readonly Entry[];
  members: readonly number[];
  name: (id: number) => string;
}

export function MessageList({ conversationId, history, listed, pending, members, name }: MessageListProps) {
  const { user, markRead } = useMarks(conversationId);
  const queryClient = useQueryClient();
  const { messages } = history;
  const unreadFrom = useUnreadFrom(messages, listed, user.id);
  const rows = useMemo(() => ({ messages, pending }), [messages, pending]);
  const places = useMemo(() => standing(messages), [messages]);
  const scroll = useScroll({ id: conversationId, rows, complete: history.atEnd, startAt: unreadFrom });
  const reads = useReads(conversationId);
  const others = members.filter((id) => id !== user.id);
  const ends = others.map((id) => reads[id] ?? 0).sort((a, b) => a - b);
  const [readByAll, readBySome] = [ends[0] ?? 0, ends.at(-1) ?? 0];

  const look = useCallback(() => {
    const { above, below } = scroll.room();
    if (above < AHEAD && history.hasNextPage && !history.isFetching) void history.fetchNextPage();
    else if (below < AHEAD && history.hasPreviousPage && !history.isFetching) void history.fetchPreviousPage();
    const seen = scroll.lastSeen();
    if (seen !== undefined && document.visibilityState === 'visible' && document.hasFocus()) markRead(seen);
  }, [scroll, history, markRead]);
  useEffect(look);
  useEffect(() => {
    window.addEventListener('focus', look);
    return () => window.removeEventListener('focus', look);
  }, [look]);
  // One's own message is looked for where it appears.
  const newest = pending.at(-1)?.id;
  const before = useRef(newest);
  useEffect(() => {
    if (newest !== undefined && newest !== before.current && history.atEnd) scroll.toEnd();
    before.current = newest;
  }, [newest, history.atEnd, scroll]);

  const toEnd = () => {
    if (!history.atEnd) void queryClient.resetQueries({ queryKey: messagesKey(conversationId) });
    scroll.toEnd();
  };
  const unseen = messages.filter((message) => message.senderId !== user.id && message.seq > (listed?.readSeq ?? Infinity)).length;
  const group = others.length > 1;
  return (
    <div className="messages-frame">
      <div className="messages" ref={scroll.box} onScroll={() => { scroll.onScroll(); look(); }} role="log" aria-label="Messages"
        aria-live="polite" aria-busy={history.isFetching || !scroll.atEnd} tabIndex={0}>
        <div className="messages-inner">
          {history.isPending && <Loading label="Fetching messages" />}
          {history.error && messages.length === 0 && <Trouble error={history.error} retry={() => void history.refetch()} />}
          {messages.length > 0 && !history.hasNextPage && <p className="beginning">This is where it began.</p>}
          <ol className="thread">
            {messages.map((message, n) => {
              const { newDay, joined } = places[n] as Standing;
              const unread = message.seq === unreadFrom;
              return (
                <Fragment key={message.seq}>
                  {newDay && <li className="day"><span>{dayName(message.sentAt)}</span></li>}
                  {unread && <li className="unread-from"><span>New</span></li>}
                  <MessageRow message={message} own={message.senderId === user.id} group={group} sender={name(message.senderId)}
                    joined={joined && !unread} last={!places[n + 1]?.joined}
                    seen={message.seq <= readByAll ? 'all' : message.seq <= readBySome ? 'some' : 'sent'} />
                </Fragment>
              );
            })}
            {(history.atEnd || history.isPending) && pending.map((entry) => <PendingRow key={entry.id} entry={entry} />)}
          </ol>
        </div>
      </div>
      {!scroll.atEnd && messages.length > 0 && (
        <button type="button" className="to-end" onClick={toEnd}>
          <Icon name="down" />{unseen > 0 ? `${unseen} new` : 'Latest'}
        </button>
      )}
    </div>
  );
}

/** How a message stands behind the one before it. */
interface Standing {
  newDay: boolean;
  /** Of the same sender, soon after. */
  joined: boolean;
}

function standing(messages: readonly Message[]): Standing[] {
  let [before, dayBefore, timeBefore]: [Message | undefined, number, number] = [undefined, 0, 0];
  return messages.map((message) => {
    const [day, time] = [dayOf(message.sentAt), Date.parse(message.sentAt)];
    const newDay = !before || day !== dayBefore;
    const same = before?.senderId === message.senderId && before.fromAutoReply === message.fromAutoReply;
    const joined = same && !newDay && time - timeBefore < TOGETHER_MS;
    [before, dayBefore, timeBefore] = [message, day, time];
    return { newDay, joined };
  });
}

/** Marks as read what is in view, once the connection can carry it. */
function useMarks(conversationId: string) {
  const live = useLive();
  const { name } = useStatus();
  const markRead = useCallback(
    (seq: number) => name === 'open' && live.markRead(conversationId, seq),
    [live, conversationId, name],
  );
  return { user: live.user, markRead };
}

/** The first message that was unread when the conversation was opened. */
function useUnreadFrom(messages: readonly Message[], listed: Conversation | undefined, me: number): number | undefined {
  const [read, setRead] = useState(() => (listed ? (listed.unread > 0 ? listed.readSeq : Infinity) : undefined));
  // Known only when the list is: a page that begins here has it a moment later.
  if (read === undefined && listed) setRead(listed.unread > 0 ? listed.readSeq : Infinity);
  return useMemo(() => messages.find((message) => message.senderId !== me && message.seq > (read ?? Infinity))?.seq, [messages, read, me]);
}
