/** How the page looks and tells, for this browser; and the way out. */

import { useState } from 'react';

import type { User } from '@parlor/client';

import { Avatar } from '@/components/Avatar.tsx';
import { Button } from '@/components/Button.tsx';
import { Note } from '@/components/States.tsx';
import { useLive, useOutbox } from '@/features/chat/hooks/useLive.tsx';
import { setTheme, theme, type Theme } from '@/lib/preferences.ts';
import { session } from '@/lib/session.ts';
import { forget, keeps } from '@/lib/storage.ts';

const THEMES: [Theme, string][] = [['system', 'As the system'], ['light', 'Light'], ['dark', 'Dark']];

export default function SettingsScreen({ user }: { user: User }) {
  const [chosen, setChosen] = useState(theme());
  return (
    <main className="page">
      <div className="page-inner narrow">
        <header className="page-head"><h1>Settings</h1></header>
        <section className="card line spread">
          <div className="line">
            <Avatar name={user.username} id={user.id} />
            <div><h2>{user.username}</h2><p className="hint">User {user.id}{user.role === 'admin' ? ', administrator' : ''}</p></div>
          </div>
          <SignOut />
        </section>
        <section className="card stack">
          <h2 id="theme">Appearance</h2>
          <div className="tabs" role="radiogroup" aria-labelledby="theme">
            {THEMES.map(([value, label]) => (
              <label key={value} className={chosen === value ? 'choice chosen' : 'choice'}>
                <input type="radio" name="theme" checked={chosen === value} onChange={() => { setTheme(value); setChosen(value); }} />{label}
              </label>
            ))}
          </div>
        </section>
        <Notifications />
        {!keeps && <Note kind="warn">This browser keeps nothing for this page. Your login, drafts and unsent messages last as long as this tab.</Note>}
        <section className="card stack">
          <h2>For programs</h2>
          <p className="hint">
            Everything that this page does, a program of yours can do too: <a href="/api/docs/" target="_blank" rel="noopener">the HTTP interface</a>{' '}
            and a websocket at <code>/ws</code>.
          </p>
        </section>
      </div>
    </main>
  );
}

function Notifications() {
  const known = typeof Notification === 'undefined' ? 'missing' : Notification.permission;
  const [permission, setPermission] = useState(known);
  const text = {
    granted: 'New messages are shown on the desktop while you look elsewhere.',
    denied: 'Your browser keeps notifications of this page back. You can allow them in its settings for this page.',
    default: 'New messages can be shown on the desktop while you look elsewhere.',
    missing: 'This browser, or this address without HTTPS, knows no notifications.',
  }[permission];
  return (
    <section className="card stack">
      <h2>Notifications</h2>
      <p className="hint">{text}</p>
      {permission === 'default' && <div><Button onClick={() => void Notification.requestPermission().then(setPermission)}>Allow notifications</Button></div>}
    </section>
  );
}

function SignOut() {
  const live = useLive();
  const unsent = useOutbox().filter((entry) => entry.state.name !== 'accepted').length;
  const [asked, setAsked] = useState(false);
  const leave = () => {
    live.outbox.clear();
    forget(`parlor.draft.${live.user.id}.`);
    void session.signOut();
  };
  if (unsent > 0 && asked) {
    return (
      <div className="stack">
        <Note kind="warn">{unsent === 1 ? 'One message has' : `${unsent} messages have`} not been sent, and would be lost.</Note>
        <div className="line"><Button onClick={() => setAsked(false)}>Stay</Button><Button kind="danger" onClick={leave}>Sign out all the same</Button></div>
      </div>
    );
  }
  return <Button icon="power" onClick={() => (unsent > 0 ? setAsked(true) : leave())}>Sign out</Button>;
}
