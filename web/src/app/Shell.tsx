/** What stands around every screen: where one can go, and what the connection is doing. */

import type { ReactNode } from 'react';
import { Link, useLocation } from 'wouter';

import type { User } from '@parlor/client';

import { Icon, type IconName } from '@/components/Icon.tsx';
import { Mark } from '@/components/Mark.tsx';
import { ConnectionBanner } from '@/features/chat/components/ConnectionBanner.tsx';
import { useUnread } from '@/features/chat/hooks/useConversations.ts';
import { useNotifications } from '@/features/chat/hooks/useNotifications.ts';

interface Place {
  to: string;
  label: string;
  icon: IconName;
  here: (path: string) => boolean;
}

const PLACES: Place[] = [
  { to: '/', label: 'Chats', icon: 'chat', here: (path) => path === '/' || path.startsWith('/c/') },
  { to: '/auto-reply', label: 'Auto-reply', icon: 'reply', here: (path) => path === '/auto-reply' },
  { to: '/scripts/incoming', label: 'Scripts', icon: 'script', here: (path) => path.startsWith('/scripts') },
  { to: '/filtered', label: 'Filtered', icon: 'filter', here: (path) => path === '/filtered' },
];
const ADMIN: Place = { to: '/admin', label: 'Admin', icon: 'admin', here: (path) => path.startsWith('/admin') };
const SETTINGS: Place = { to: '/settings', label: 'Settings', icon: 'settings', here: (path) => path === '/settings' };

export function Shell({ user, children }: { user: User; children: ReactNode }) {
  const [path] = useLocation();
  const unread = useUnread();
  useNotifications(/^\/c\/(?!new\/)([^/]+)/.exec(path)?.[1]);
  const places = [...PLACES, ...(user.role === 'admin' ? [ADMIN] : []), SETTINGS];
  const inside = path.startsWith('/c/');
  return (
    <div className={inside ? 'shell in-conversation' : 'shell'}>
      <a className="skip" href="#screen">Skip to the content</a>
      <nav className="rail" aria-label="Parlor">
        <Mark className="rail-mark" size={32} />
        <ul>
          {places.map(({ to, label, icon, here }) => (
            <li key={to} className={to === '/settings' ? 'rail-last' : undefined}>
              <Link href={to} className="rail-link" aria-current={here(path) ? 'page' : undefined}>
                <Icon name={icon} />
                <span>{label}</span>
                {to === '/' && unread > 0 && <span className="badge rail-badge" aria-label={`${unread} unread`}>{unread > 99 ? '99+' : unread}</span>}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <div className="stage" id="screen" tabIndex={-1}>
        <ConnectionBanner />
        {children}
      </div>
    </div>
  );
}
