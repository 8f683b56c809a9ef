/** What is unhealthy, in words. */

import { useQuery } from '@tanstack/react-query';
import { Link } from 'wouter';

import { Icon } from '@/components/Icon.tsx';
import { Loading } from '@/components/States.tsx';
import { languagesOffered } from '@/features/scripts/api/scripts.ts';
import { words } from '@/lib/api.ts';
import { ago } from '@/lib/format.ts';

import { nodesThere, switchedOffScripts } from '../api/admin.ts';
import { complaints, remarks } from './complaints.ts';

export function Health() {
  const nodes = useQuery(nodesThere);
  const off = useQuery(switchedOffScripts);
  const languages = useQuery(languagesOffered);
  if (nodes.isPending || off.isPending) return <Loading />;
  const error = nodes.error ?? off.error;
  const found = complaints(nodes.data, error ? words(error) : undefined);
  const scripts = off.data ?? [];
  return (
    <>
      <section className="stack" aria-label="Health">
        <ul className="health">
          {found.map((text) => <li key={text}><Icon name="alert" />{text}</li>)}
          {found.length === 0 && <li className="fine"><Icon name="check" />The server answers, every stage runs, no node is stopping.</li>}
          {remarks(languages.data).map((text) => <li key={text} className="remark">{text}</li>)}
        </ul>
      </section>
      <section className="card stack" aria-labelledby="off">
        <h2 id="off">Scripts that the server switched off</h2>
        {scripts.length === 0 && <p className="hint">None. A script that uses too much, or fails over and over, would stand here.</p>}
        {scripts.length > 0 && (
          <ul className="log-list">
            {scripts.map((one) => (
              <li key={`${one.userId} ${one.direction}`} className="log-row">
                <Link href={`/admin/users/${one.userId}/scripts/${one.direction}`}>{one.username}, {one.direction}, version {one.version}</Link>
                <span className="grow">{one.reason.replace(/^\w+: /, '')}</span>
                <time className="hint" dateTime={one.switchedOffAt}>{ago(one.switchedOffAt)}</time>
              </li>
            ))}
          </ul>
        )}
      </section>
    </>
  );
}
