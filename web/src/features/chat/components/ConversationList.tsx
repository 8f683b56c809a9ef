/** All conversations, the newest first, with what is unread. */

import { useState } from 'react';
import { Link } from 'wouter';

import { Avatar } from '@/components/Avatar.tsx';
import { IconButton, Button } from '@/components/Button.tsx';
import { Icon } from '@/components/Icon.tsx';
import { Empty, Loading, Trouble } from '@/components/States.tsx';
import { fullTime, shortTime } from '@/lib/format.ts';

import type { Conversation } from '../api/conversations.ts';
import { useConversations, usePresence, useWhole } from '../hooks/useConversations.ts';
import { useLive } from '../hooks/useLive.tsx';
import { usePeople } from '../hooks/usePeople.ts';
import { useWriting } from '../hooks/useWriting.ts';
import { titleOf } from '../hooks/titles.ts';

interface ConversationListProps {
  /** The conversation that stands beside the list. */
  open?: string;
  /** Whether anything stands beside it: then that gives the screen its heading. */
  beside: boolean;
  onNew: () => void;
}

export function ConversationList({ open, beside, onNew }: ConversationListProps) {
  const { user } = useLive();
  const { data, error, isPending, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useConversations();
  const [wanted, setWanted] = useState('');
  const Heading = beside ? 'h2' : 'h1';
  const name = usePeople([...new Set((data ?? []).flatMap((item) => item.participants))]);
  const presence = usePresence();
  const search = wanted.trim().toLowerCase();
  const looking = useWhole(search !== '');
  const shown = (data ?? []).filter((item) => titleOf(item.participants, user.id, name).toLowerCase().includes(search));
  return (
    <section className="list" aria-label="Conversations">
      <header className="list-head">
        <Heading className="list-title">Chats</Heading>
        <IconButton icon="plus" label="New conversation" className="filled" onClick={onNew} />
      </header>
      {(data?.length ?? 0) > 5 && (
        <div className="list-search">
          <Icon name="search" />
          <input type="search" aria-label="Find a conversation" placeholder="Find" value={wanted} onChange={(event) => setWanted(event.target.value)} />
        </div>
      )}
      <div className="list-body">
        {isPending && <Loading />}
        {error && !data && <Trouble error={error} retry={() => void refetch()} />}
        {data?.length === 0 && (
          <Empty icon="chat" title="No conversations yet">
            <Button kind="primary" icon="plus" onClick={onNew}>Write to somebody</Button>
          </Empty>
        )}
        {shown.length > 0 && (
          <ul>
            {shown.map((item) => (
              <Row key={item.conversationId} item={item} me={user.id} name={name} presence={presence} open={item.conversationId === open} />
            ))}
          </ul>
        )}
        {looking && <Loading label="Looking through all" />}
        {search && !looking && shown.length === 0 && <p className="hint centred">No conversation by that name.</p>}
        {hasNextPage && !search && <Button kind="quiet" busy={isFetchingNextPage} onClick={() => void fetchNextPage()}>Older conversations</Button>}
      </div>
    </section>
  );
}

interface RowProps {
  item: Conversation;
  me: number;
  name: (id: number) => string;
  presence: Readonly<Record<number, boolean>>;
  open: boolean;
}

function Row({ item, me, name, presence, open }: RowProps) {
  const writing = useWriting(item.conversationId);
  const { lastMessage: last } = item;
  const title = titleOf(item.participants, me, name);
  const others = item.participants.filter((id) => id !== me);
  const single = others.length === 1 ? others[0] : undefined;
  const who = last.senderId === me ? 'You: ' : others.length > 1 ? `${name(last.senderId)}: ` : '';
  return (
    <li>
      <Link href={`/c/${item.conversationId}`} className={item.unread > 0 ? 'row unread' : 'row'} aria-current={open ? 'true' : undefined}>
        <Avatar name={others.length > 1 ? String(others.length + 1) : title} group={others.length > 1}
          id={single ?? item.conversationId} online={single !== undefined && presence[single]} />
        <span className="row-main">
          <span className="row-top">
            <span className="row-title">{title}</span>
            <time className="row-time" dateTime={last.sentAt} title={fullTime(last.sentAt)}>{shortTime(last.sentAt)}</time>
          </span>
          <span className="row-bottom">
            <span className={writing.length > 0 ? 'row-text writing' : 'row-text'}>
              {writing.length > 0 ? 'writing …' : <>{last.fromAutoReply && <Icon name="robot" className="inline" />}{who}<bdi>{last.messageBody.slice(0, 140) || '(empty)'}</bdi></>}
            </span>
            {item.unread > 0 && <span className="badge" aria-label={`${item.unread} unread`}>{item.unread >= 1000 ? '999+' : item.unread}</span>}
          </span>
        </span>
      </Link>
    </li>
  );
}
