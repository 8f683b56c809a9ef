/** A message, and one that is on its way. */

import { memo } from 'react';

import type { Entry, Message } from '@parlor/client';

import { Avatar } from '@/components/Avatar.tsx';
import { Icon } from '@/components/Icon.tsx';
import { clockTime, fullTime } from '@/lib/format.ts';

import { useLive } from '../hooks/useLive.tsx';
import { MessageText } from './MessageText.tsx';

interface MessageRowProps {
  message: Message;
  own: boolean;
  /** Whether it follows one of the same sender: then who and the picture are not said again. */
  joined: boolean;
  /** Whether the one behind it is joined to it. */
  last: boolean;
  /** The sender's name where it must be said: in groups. */
  sender: string;
  group: boolean;
  /** Of an own message: `sent`, or who has read it. */
  seen: 'sent' | 'some' | 'all';
}

export const MessageRow = memo(function MessageRow({ message, own, joined, last, sender, group, seen }: MessageRowProps) {
  const classes = ['message', own ? 'own' : 'other', joined ? 'joined' : '', last ? 'last' : '', message.fromAutoReply ? 'automatic' : ''];
  return (
    <li className={classes.join(' ')} data-seq={message.seq}>
      {!own && group && <span className="message-face">{last && <Avatar name={sender} id={message.senderId} />}</span>}
      <div className="bubble">
        {!own && group && !joined && <p className="message-sender">{sender}</p>}
        {(own || !group || joined) && <span className="for-readers">{own ? 'You' : sender}: </span>}
        {message.fromAutoReply && <p className="message-automatic"><Icon name="robot" className="inline" />Automatic message</p>}
        <p className="message-text" dir="auto"><MessageText text={message.messageBody} /></p>
        <p className="message-foot">
          <time dateTime={message.sentAt} title={fullTime(message.sentAt)}>{clockTime(message.sentAt)}</time>
          {own && <Seen seen={seen} />}
        </p>
      </div>
    </li>
  );
});

function Seen({ seen }: { seen: 'sent' | 'some' | 'all' }) {
  const label = { sent: 'Sent', some: 'Read by some', all: 'Read' }[seen];
  return <span className={`mark ${seen}`} title={label}><Icon name={seen === 'sent' ? 'check' : 'checks'} /><span className="for-readers">{label}</span></span>;
}

export function PendingRow({ entry }: { entry: Entry }) {
  const { outbox } = useLive();
  const { state } = entry;
  return (
    <li className={`message own pending ${state.name} last`} data-pending={entry.id} data-state={state.name}>
      <div className="bubble">
        <span className="for-readers">You: </span>
        <p className="message-text" dir="auto"><MessageText text={entry.body} /></p>
        <p className="message-foot">
          <time dateTime={new Date(entry.createdAt).toISOString()}>{clockTime(entry.createdAt)}</time>
          {state.name === 'sending' && <span className="mark" title="Sending"><Icon name="clock" /><span className="for-readers">Sending</span></span>}
          {state.name === 'accepted' && <Seen seen="sent" />}
          {state.name === 'failed' && <span className="mark failed" title="Not sent"><Icon name="alert" /><span className="for-readers">Not sent</span></span>}
        </p>
      </div>
      {state.name === 'failed' && (
        <p className="message-failed" role="alert">
          Not sent: {state.detail}.{' '}
          <button type="button" className="link" onClick={() => outbox.retry(entry.id)}>Try again</button>{' '}
          <button type="button" className="link" onClick={() => outbox.discard(entry.id)}>Discard</button>
        </p>
      )}
    </li>
  );
}
