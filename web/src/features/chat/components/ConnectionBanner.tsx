/** Says what the connection is doing, when it is not simply there. */

import { useEffect, useState } from 'react';

import type { Status } from '@parlor/client';

import { useLive, useOutbox, useStatus } from '../hooks/useLive.tsx';

/** A connection that is made within this time is not worth a word. */
const QUIET_MS = 700;

export function ConnectionBanner() {
  const { connection } = useLive();
  const status = useStatus();
  const unsent = useOutbox().filter((entry) => entry.state.name === 'sending').length;
  const quiet = useQuiet(status);
  const text = quiet ? '' : wordsOf(status);
  const waits = status.name === 'waiting' || status.name === 'offline';
  return (
    <div className={text ? `banner ${status.name}` : 'banner none'} role="status" data-connection={status.name}>
      {text && (
        <>
          <span className="banner-dot" aria-hidden="true" />
          <span>
            {text}
            {status.name === 'waiting' && <Countdown until={status.until} />}
            {unsent > 0 && ` ${unsent === 1 ? 'One message waits' : `${unsent} messages wait`} here and will be sent.`}
          </span>
          {waits && <button type="button" className="link" onClick={() => connection.retryNow()}>Try now</button>}
          {status.name === 'broken' && <button type="button" className="link" onClick={() => location.reload()}>Reload</button>}
        </>
      )}
    </div>
  );
}

function wordsOf(status: Status): string {
  switch (status.name) {
    case 'open': return status.caughtUp ? '' : 'Connected. Fetching what you missed …';
    case 'connecting': return status.attempt > 1 ? 'Connecting again …' : 'Connecting …';
    case 'waiting':
      if (status.reason === 'restart') return 'The server is restarting. ';
      return status.reason === 'refused' ? 'The server asked us to wait. ' : 'The connection was lost. ';
    case 'offline': return 'This device is offline.';
    case 'broken': return `The server does not understand this page (${status.code}). It may be out of date.`;
    case 'stopped': case 'signedOut': return '';
  }
}

/** Whether the connection has been away for a moment only. */
function useQuiet(status: Status): boolean {
  const good = status.name === 'open' && status.caughtUp;
  const [quiet, setQuiet] = useState(true);
  useEffect(() => {
    if (good) {
      setQuiet(true);
      return undefined;
    }
    const timer = setTimeout(() => setQuiet(false), QUIET_MS);
    return () => clearTimeout(timer);
  }, [good]);
  return quiet || good;
}

function Countdown({ until }: { until: number }) {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [until]);
  const seconds = Math.max(1, Math.ceil((until - now) / 1000));
  // Every second anew would be read out every second.
  return <span aria-hidden="true">Next attempt in {seconds} s.</span>;
}
