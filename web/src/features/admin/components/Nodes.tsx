/** The nodes: what they carry, and telling one to stop. */

import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';

import { Button } from '@/components/Button.tsx';
import { Dialog } from '@/components/Dialog.tsx';
import { Chip, Loading, Note, Trouble } from '@/components/States.tsx';
import { words } from '@/lib/api.ts';
import { ago, count, fullTime } from '@/lib/format.ts';

import { drain, nodesThere, type Node } from '../api/admin.ts';

/** What has a line of its own; whatever else a node tells is listed as it is. */
const KNOWN = new Set(['id', 'version', 'startedAt', 'sessions', 'stages', 'draining', 'host', 'answers']);

export function Nodes() {
  const { data, error, isPending, refetch } = useQuery(nodesThere);
  const [asked, setAsked] = useState<Node>();
  if (isPending) return <Loading />;
  if (error && !data) return <Trouble error={error} retry={() => void refetch()} />;
  return (
    <>
      {error && <Note kind="warn">{words(error)} This is how it was.</Note>}
      <ul className="cards">
        {data.map((node) => (
          <li key={node.id} className="card stack">
            <div className="line spread">
              <h2>Node {node.id}{node.answers && data.length > 1 && <span className="hint"> (the one that answers here)</span>}</h2>
              {node.draining ? <Chip kind="warn">Stopping</Chip> : <Chip kind="good">Running</Chip>}
            </div>
            <dl className="facts">
              <dt>Connections</dt><dd>{count(node.sessions)}</dd>
              {node.host && <><dt>Host</dt><dd>{node.host}</dd></>}
              <dt>Started</dt><dd title={fullTime(node.startedAt)}>{ago(node.startedAt)}</dd>
              <dt>Version</dt><dd>{node.version}</dd>
              <dt>Stages</dt><dd>{node.stages.join(', ')}</dd>
              {Object.entries(node).filter(([key]) => !KNOWN.has(key)).map(([key, value]) => <Fact key={key} name={key} value={value} />)}
            </dl>
            <div><Button kind="danger" icon="power" disabled={node.draining} onClick={() => setAsked(node)}>Drain</Button></div>
          </li>
        ))}
      </ul>
      {asked && <Drain node={asked} alone={data.length === 1} onClose={() => setAsked(undefined)} />}
    </>
  );
}

function Fact({ name, value }: { name: string; value: unknown }) {
  return <><dt>{name}</dt><dd>{typeof value === 'object' ? JSON.stringify(value) : String(value)}</dd></>;
}

function Drain({ node, alone, onClose }: { node: Node; alone: boolean; onClose: () => void }) {
  const client = useQueryClient();
  const run = useMutation({
    mutationFn: () => drain(node.id),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: nodesThere.queryKey });
      onClose();
    },
  });
  return (
    <Dialog title={`Drain node ${node.id}?`} onClose={onClose}>
      <div className="dialog-body">
        <p>It takes nobody in any more, hands {node.sessions === 1 ? 'its one connection' : `its ${count(node.sessions)} connections`} over, finishes every message it has accepted, and then stops. Nothing is lost.</p>
        {alone && <Note kind="warn">It is the only node: until somebody starts it again, nobody can chat.</Note>}
        {run.error && <Note kind="bad">{words(run.error)}</Note>}
      </div>
      <footer className="dialog-foot">
        <Button onClick={onClose}>Cancel</Button>
        <Button kind="danger" busy={run.isPending} onClick={() => run.mutate()}>Drain it</Button>
      </footer>
    </Dialog>
  );
}
