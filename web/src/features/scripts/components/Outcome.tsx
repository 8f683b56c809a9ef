/** What one run came to. */

import { Icon } from '@/components/Icon.tsx';
import { Chip } from '@/components/States.tsx';
import { bytes, micros } from '@/lib/format.ts';

import type { Direction, Result } from '../api/scripts.ts';

export function Outcome({ result, body, direction }: { result: Result; body: string; direction: Direction }) {
  const { verdict, failure, replies, unanswered, prints } = result;
  return (
    <div className="outcome">
      {verdict === 'forward' && direction === 'incoming' && <p><Chip kind="good">Forward</Chip> You get it.</p>}
      {verdict === 'forward' && direction === 'outgoing' && <p><Chip>Unchanged</Chip> It is sent as it is.</p>}
      {verdict === 'drop' && <p><Chip kind="warn">Drop</Chip> It goes to your filtered list.</p>}
      {verdict === 'edited' && (
        <>
          <p><Chip kind="accent">Edited</Chip> This is sent:</p>
          <p className="made">{result.messageBody ?? body}</p>
        </>
      )}
      {failure && (
        <p className="bad"><Chip kind="bad">{failure.kind.replace('_', ' ')}</Chip> {failure.line ? `Line ${failure.line}: ` : ''}{failure.detail}. The message goes on as if there were no script.</p>
      )}
      {replies.map((reply, n) => <p className="made" key={n}><Icon name="reply" className="inline" />to user {reply.to}: {reply.message}</p>)}
      {unanswered.map((reply, n) => <p className="made unsent" key={n}>Not sent, it answers an automatic message: {reply.message}</p>)}
      {prints.length > 0 && <pre className="prints" aria-label="Printed">{prints.join('\n')}{result.printsCut ? '\n…' : ''}</pre>}
      <p className="costs">{micros(result.cpuMicros)} processor · {micros(result.wallMicros)} in all · {bytes(result.heapBytes)}</p>
    </div>
  );
}
