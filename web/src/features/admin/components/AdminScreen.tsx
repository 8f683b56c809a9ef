/** For administrators: is all well, who there is, which nodes run. */

import { Link } from 'wouter';

import { Health } from './Health.tsx';
import { Nodes } from './Nodes.tsx';
import { Users } from './Users.tsx';

const PARTS = [['', 'Health'], ['users', 'Users'], ['nodes', 'Nodes']] as const;

export default function AdminScreen({ part = '' }: { part?: string }) {
  return (
    <main className="page">
      <div className="page-inner">
        <header className="page-head">
          <h1>Administration</h1>
          <nav className="tabs" aria-label="Administration">
            {PARTS.map(([path, label]) => <Link key={path} href={path ? `/admin/${path}` : '/admin'} aria-current={part === path ? 'page' : undefined}>{label}</Link>)}
          </nav>
        </header>
        {part === 'users' ? <Users /> : part === 'nodes' ? <Nodes /> : <Health />}
      </div>
    </main>
  );
}
