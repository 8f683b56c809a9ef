/** What stands where nothing else does: loading, empty, wrong. */

import type { ReactNode } from 'react';

import { words } from '@/lib/api.ts';

import { Button } from './Button.tsx';
import { Icon, type IconName } from './Icon.tsx';

export function Loading({ label = 'Loading' }: { label?: string }) {
  return <div className="state" role="status"><span className="spinner" aria-hidden="true" /><span>{label}…</span></div>;
}

export function Empty({ icon, title, children }: { icon: IconName; title: string; children?: ReactNode }) {
  return (
    <div className="state empty">
      <Icon name={icon} className="large" />
      <p className="state-title">{title}</p>
      {children && <div className="state-text">{children}</div>}
    </div>
  );
}

export function Trouble({ error, retry }: { error: unknown; retry?: () => void }) {
  return (
    <div className="state trouble" role="alert">
      <Icon name="alert" className="large" />
      <p className="state-title">{words(error)}</p>
      {retry && <Button onClick={retry}>Try again</Button>}
    </div>
  );
}

export function Note({ kind = 'info', children }: { kind?: 'info' | 'good' | 'warn' | 'bad'; children: ReactNode }) {
  return <div className={`note ${kind}`} role={kind === 'bad' ? 'alert' : 'status'}>{children}</div>;
}

export function Chip({ kind = 'neutral', children }: { kind?: 'neutral' | 'good' | 'warn' | 'bad' | 'accent'; children: ReactNode }) {
  return <span className={`chip ${kind}`}>{children}</span>;
}
