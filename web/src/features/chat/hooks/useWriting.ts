/** Who is writing in a conversation at this moment. */

import { useEffect, useState } from 'react';

import { useTyping } from './useMessages.ts';

export function useWriting(conversationId: string): number[] {
  const typing = useTyping(conversationId);
  const [now, setNow] = useState(() => Date.now());
  const last = Math.max(0, ...Object.values(typing));
  useEffect(() => {
    setNow(Date.now());
    if (last <= Date.now()) return undefined;
    const timer = setTimeout(() => setNow(Date.now()), last - Date.now() + 50);
    return () => clearTimeout(timer);
  }, [last, typing]);
  return Object.entries(typing).filter(([, until]) => until > now).map(([id]) => Number(id));
}
