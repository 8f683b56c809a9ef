/** One conversation: who is in it, what was said, and a place to write. One that has no message yet is known by its people. */

import { useLayoutEffect, useMemo } from 'react';
import { Link, useLocation } from 'wouter';

import { Avatar } from '@/components/Avatar.tsx';
import { Icon } from '@/components/Icon.tsx';
import { Loading } from '@/components/States.tsx';

import { addressed, participantsOf } from '../api/conversations.ts';
import { moveDraft } from '../api/drafts.ts';
import { useConversationOf, useConversations, usePresence } from '../hooks/useConversations.ts';
import { useLive, useOutbox } from '../hooks/useLive.tsx';
import { useMessages } from '../hooks/useMessages.ts';
import { usePeople } from '../hooks/usePeople.ts';
import { useWriting } from '../hooks/useWriting.ts';
import { titleOf } from '../hooks/titles.ts';
import { Composer } from './Composer.tsx';
import { MessageList } from './MessageList.tsx';
import { PendingRow } from './MessageRow.tsx';

export function Conversation({ conversationId, people }: { conversationId?: string; people?: string }) {
  return conversationId ? <Known conversationId={conversationId} /> : <Fresh people={people ?? ''} />;
}

function Known({ conversationId }: { conversationId: string }) {
  const { user } = useLive();
  const { data: conversations } = useConversations();
  const history = useMessages(conversationId);
  const listed = conversations?.find((item) => item.conversationId === conversationId);
  const newest = history.messages.at(-1);
  // One that is far down the list is known by its messages.
  const found = listed?.participants ?? (newest ? participantsOf(newest) : undefined);
  // The same people are the same list, whichever message they were told by.
  const people = found?.join();
  const members = useMemo(() => people?.split(',').map(Number), [people]);
  const recipients = useMemo(() => (members ? addressed(members, user.id) : undefined), [members, user.id]);
  const pending = usePending(recipients, conversationId);
  const name = usePeople(members ?? []);
  return (
    <section className="conversation" aria-label="Conversation">
      <Head members={members ?? []} me={user.id} name={name} conversationId={conversationId} />
      <MessageList conversationId={conversationId} history={history} listed={listed} pending={pending} name={name} members={members ?? []} />
      <Composer draftKey={conversationId} conversationId={conversationId} recipientIds={recipients} label={titleOf(members ?? [], user.id, name)} />
    </section>
  );
}

function Fresh({ people }: { people: string }) {
  const { user } = useLive();
  const [, navigate] = useLocation();
  const others = useMemo(() => people.split('-').map(Number).filter((id) => Number.isSafeInteger(id) && id > 0), [people]);
  const members = useMemo(() => [...new Set([...others, user.id])].sort((a, b) => a - b), [others, user.id]);
  const { found: known, looking } = useConversationOf(members);
  const name = usePeople(members);
  const recipients = useMemo(() => addressed(members, user.id), [members, user.id]);
  const pending = usePending(recipients);
  const draftKey = `new-${others.join('-')}`;
  useLayoutEffect(() => {
    if (!known) return;
    moveDraft(user.id, draftKey, known.conversationId);
    navigate(`/c/${known.conversationId}`, { replace: true });
  }, [known, navigate, user.id, draftKey]);
  return (
    <section className="conversation" aria-label="Conversation">
      <Head members={members} me={user.id} name={name} />
      <div className="messages" role="log" aria-label="Messages" tabIndex={0}>
        <div className="messages-inner">
          {looking && <Loading />}
          {!looking && pending.length === 0 && <p className="beginning">This is the beginning of your conversation with {titleOf(members, user.id, name)}. Say hello.</p>}
          <ol className="thread">{pending.map((entry) => <PendingRow key={entry.id} entry={entry} />)}</ol>
        </div>
      </div>
      <Composer draftKey={draftKey} recipientIds={recipients} label={titleOf(members, user.id, name)} />
    </section>
  );
}

/** What we wrote here and the server has not made a message of yet. */
function usePending(recipients: readonly number[] | undefined, conversationId?: string) {
  const outbox = useOutbox();
  const key = recipients?.join();
  return useMemo(
    () => outbox.filter((entry) => {
      if (entry.recipientIds.length === 0) return entry.conversationId === conversationId;
      return [...entry.recipientIds].sort((a, b) => a - b).join() === key;
    }),
    [outbox, key, conversationId],
  );
}

interface HeadProps {
  members: readonly number[];
  me: number;
  name: (id: number) => string;
  conversationId?: string;
}

function Head({ members, me, name, conversationId = '' }: HeadProps) {
  const presence = usePresence();
  const writing = useWriting(conversationId);
  const others = members.filter((id) => id !== me);
  const title = titleOf(members, me, name);
  const online = others.filter((id) => presence[id]);
  const single = others.length === 1 ? others[0] : undefined;
  const state = () => {
    if (writing.length > 0) return `${writing.map(name).join(', ')} ${writing.length === 1 ? 'is' : 'are'} writing …`;
    if (others.length === 0) return 'Only you read this';
    if (single !== undefined) return online.length > 0 ? 'Online' : 'Not online';
    return online.length > 0 ? `${members.length} people, online: ${online.map(name).join(', ')}` : `${members.length} people`;
  };
  return (
    <header className="conversation-head">
      <Link href="/" className="icon-button only-narrow" aria-label="Back to all chats"><Icon name="back" /></Link>
      <Avatar name={others.length > 1 ? String(members.length) : title} group={others.length > 1} id={single ?? conversationId} online={online.length > 0} />
      <div className="conversation-title">
        <h1>{title}</h1>
        <p className={writing.length > 0 ? 'writing' : online.length > 0 ? 'online' : ''}>{members.length > 0 && state()}</p>
      </div>
    </header>
  );
}
