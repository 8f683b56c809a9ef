/** The conversations, and the one that is open. On a phone one or the other. */

import { useEffect, useState } from 'react';

import { Empty } from '@/components/States.tsx';
import { Button } from '@/components/Button.tsx';

import { Conversation } from './Conversation.tsx';
import { ConversationList } from './ConversationList.tsx';
import { NewConversation } from './NewConversation.tsx';

export function ChatScreen({ conversationId, people }: { conversationId?: string; people?: string }) {
  const [starting, setStarting] = useState(false);
  const open = conversationId ?? people;
  useEffect(() => {
    const shortcut = (event: KeyboardEvent) => {
      if (event.key.toLowerCase() === 'k' && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        setStarting(true);
      }
    };
    window.addEventListener('keydown', shortcut);
    return () => window.removeEventListener('keydown', shortcut);
  }, []);
  return (
    <main className={open ? 'chat has-open' : 'chat'}>
      <ConversationList open={conversationId} beside={open !== undefined} onNew={() => setStarting(true)} />
      {open ? (
        <Conversation key={open} conversationId={conversationId} people={people} />
      ) : (
        <section className="conversation nothing">
          <Empty icon="chat" title="Pick a conversation, or begin one">
            <Button kind="primary" icon="plus" onClick={() => setStarting(true)}>New conversation</Button>
            <p className="hint"><kbd>Ctrl</kbd> <kbd>K</kbd> does it from anywhere in your chats.</p>
          </Empty>
        </section>
      )}
      {starting && <NewConversation onClose={() => setStarting(false)} />}
    </main>
  );
}
