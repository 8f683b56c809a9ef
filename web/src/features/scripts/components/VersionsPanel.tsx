/** What was saved: compare, open, switch on. An older one is how to roll back. */

import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';

import { Button } from '@/components/Button.tsx';
import { Dialog } from '@/components/Dialog.tsx';
import { Chip, Empty, Loading, Note, Trouble } from '@/components/States.tsx';
import { words } from '@/lib/api.ts';
import { ago, bytes, fullTime } from '@/lib/format.ts';

import { activate, sourceOf, versionsOf, type Direction, type Language, type Owner, type Version } from '../api/scripts.ts';

const Editor = lazy(() => import('./Editor.tsx'));

interface VersionsPanelProps {
  owner: Owner;
  direction: Direction;
  onOpen: (source: string, language: Language['language']) => void;
}

export function VersionsPanel({ owner, direction, onOpen }: VersionsPanelProps) {
  const client = useQueryClient();
  const { data, error, isPending, refetch } = useQuery(versionsOf(owner, direction));
  const [shown, setShown] = useState<Version>();
  const active = data?.find((version) => version.active);
  const run = useMutation({
    mutationFn: (version: number) => activate(owner, direction, version),
    onSettled: () => client.invalidateQueries({ queryKey: ['scripts', owner] }),
  });
  const open = useMutation({
    mutationFn: async (version: Version) => ({ source: await client.fetchQuery(sourceOf(owner, direction, version.version)), language: version.language }),
    onSuccess: ({ source, language }) => onOpen(source, language),
  });
  if (isPending) return <Loading />;
  if (error) return <Trouble error={error} retry={() => void refetch()} />;
  if (data.length === 0) return <Empty icon="history" title="No versions yet">Saving makes one. It does not run before you activate it.</Empty>;
  return (
    <div className="stack">
      {(run.error ?? open.error) && <Note kind="bad">{words(run.error ?? open.error)}</Note>}
      <ul className="versions">
        {data.map((version) => {
          const older = active !== undefined && version.version < active.version;
          return (
            <li key={version.version} className="version">
              <div className="grow">
                <p><strong>Version {version.version}</strong> {version.active && <Chip kind="good">running</Chip>}</p>
                <p className="hint"><time dateTime={version.uploadedAt} title={fullTime(version.uploadedAt)}>{ago(version.uploadedAt)}</time> · {bytes(version.bytes)}</p>
              </div>
              <Button kind="quiet" aria-label={`Compare version ${version.version}`} onClick={() => setShown(version)}>Compare</Button>
              <Button kind="quiet" aria-label={`Open version ${version.version} in the editor`} onClick={() => open.mutate(version)}>Open</Button>
              {!version.active && (
                <Button busy={run.isPending && run.variables === version.version} aria-label={`${older ? 'Roll back to' : 'Activate'} version ${version.version}`} onClick={() => run.mutate(version.version)}>
                  {older ? 'Roll back' : 'Activate'}
                </Button>
              )}
            </li>
          );
        })}
      </ul>
      {shown && <Compare owner={owner} direction={direction} versions={data} shown={shown} against={active?.version === shown.version ? undefined : active} onClose={() => setShown(undefined)} />}
    </div>
  );
}

interface CompareProps {
  owner: Owner;
  direction: Direction;
  versions: readonly Version[];
  shown: Version;
  against?: Version;
  onClose: () => void;
}

function Compare({ owner, direction, versions, shown, against, onClose }: CompareProps) {
  const before = versions.find((version) => version.version < shown.version);
  const [other, setOther] = useState((against ?? before ?? shown).version);
  const left = useQuery(sourceOf(owner, direction, other));
  const right = useQuery(sourceOf(owner, direction, shown.version));
  const error = left.error ?? right.error;
  return (
    <Dialog title={`Version ${shown.version}, compared`} onClose={onClose} wide>
      <div className="dialog-body">
        <label className="line">With
          <select className="input" value={other} onChange={(event) => setOther(Number(event.target.value))}>
            {versions.map((version) => <option key={version.version} value={version.version}>version {version.version}{version.active ? ' (running)' : ''}</option>)}
          </select>
        </label>
        {error && <Trouble error={error} />}
        {left.data !== undefined && right.data !== undefined && (left.data === right.data ? <Note>They are the same.</Note> : (
          <div className="compare">
            <Suspense fallback={<Loading />}>
              <Editor key={other} text={right.data} original={left.data} readOnly language={shown.language} direction={direction} label={`Version ${shown.version}, with what changed since version ${other}`} />
            </Suspense>
          </div>
        ))}
      </div>
    </Dialog>
  );
}
