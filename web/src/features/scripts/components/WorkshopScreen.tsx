/** Write a script, see what it would do, switch it on, watch it. */

import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { lazy, Suspense, useState } from 'react';
import { Link } from 'wouter';

import { Button } from '@/components/Button.tsx';
import { Chip, Loading, Note } from '@/components/States.tsx';
import { usePeople } from '@/features/chat/hooks/usePeople.ts';
import { useLive } from '@/features/chat/hooks/useLive.tsx';
import { words } from '@/lib/api.ts';

import '@/styles/workshop.css';

import { translated } from '../api/beginnings.ts';
import { activate, disable, languagesOffered, overviewOf, upload, type Direction, type Owner } from '../api/scripts.ts';
import { diagnosticsOf, useCheck, type Check } from '../hooks/useCheck.ts';
import { useDraft, type Draft } from '../hooks/useDraft.ts';
import { Figures } from './Figures.tsx';
import { Gallery } from './Gallery.tsx';
import { LogPanel } from './LogPanel.tsx';
import { TryPanel } from './TryPanel.tsx';
import { VersionsPanel } from './VersionsPanel.tsx';

const Editor = lazy(() => import('./Editor.tsx'));
const PANELS = ['Try', 'Versions', 'Log', 'Figures'] as const;
type Panel = (typeof PANELS)[number];
const NOTHING: never[] = [];

export default function WorkshopScreen({ direction: asked, owner }: { direction: string; owner: Owner }) {
  const direction: Direction = asked === 'outgoing' ? 'outgoing' : 'incoming';
  return <Workshop key={`${owner} ${direction}`} direction={direction} owner={owner} />;
}

function Workshop({ direction, owner }: { direction: Direction; owner: Owner }) {
  const { user } = useLive();
  const { draft, change, use, newest, kept } = useDraft(user.id, owner, direction);
  const [panel, setPanel] = useState<Panel>('Try');
  const [gallery, setGallery] = useState(false);
  const check = useCheck({
    owner, direction, language: draft?.language ?? 'luau', source: draft?.source ?? '', samples: draft?.samples.slice(0, 5) ?? NOTHING,
  });
  return (
    <main className="workshop">
      <Head direction={direction} owner={owner} onGallery={() => setGallery(true)} />
      <div className="workshop-body">
        <section className="workshop-editor" aria-label="Editor">
          {draft ? (
            <Suspense fallback={<Loading label="Opening the editor" />}>
              <Editor text={draft.source} onChange={(source) => change({ source })} diagnostics={diagnosticsOf(check)} language={draft.language}
                direction={direction} label={`Source of the ${direction} script`} />
            </Suspense>
          ) : <Loading />}
          {draft && <Foot owner={owner} direction={direction} draft={draft} change={change} check={check} same={newest !== undefined && kept === draft.source && newest.language === draft.language} newest={newest?.version} />}
        </section>
        <section className="workshop-panel" aria-label={panel}>
          <div className="tabs" role="tablist" aria-label="What to see beside the editor">
            {PANELS.map((name) => (
              <button key={name} type="button" role="tab" id={`tab-${name}`} aria-selected={panel === name} aria-controls="panel" onClick={() => setPanel(name)}>{name}</button>
            ))}
          </div>
          <div className="panel-body" role="tabpanel" id="panel" aria-labelledby={`tab-${panel}`} tabIndex={0}>
            {panel === 'Try' && draft && <TryPanel owner={owner} direction={direction} draft={draft} change={change} check={check} />}
            {panel === 'Versions' && <VersionsPanel owner={owner} direction={direction} onOpen={(source, language) => change({ source, language })} />}
            {panel === 'Log' && <LogPanel owner={owner} direction={direction} />}
            {panel === 'Figures' && <Figures owner={owner} direction={direction} />}
          </div>
        </section>
      </div>
      {gallery && <Gallery direction={direction} onPick={(template) => { use(template); setPanel('Try'); setGallery(false); }} onClose={() => setGallery(false)} />}
    </main>
  );
}

function Head({ direction, owner, onGallery }: { direction: Direction; owner: Owner; onGallery: () => void }) {
  const client = useQueryClient();
  const { data } = useQuery(overviewOf(owner));
  const script = data?.[direction];
  const off = useMutation({ mutationFn: () => disable(owner, direction), onSettled: () => client.invalidateQueries({ queryKey: ['scripts', owner] }) });
  const name = usePeople(owner === 'me' ? [] : [Number(owner)]);
  const base = owner === 'me' ? '/scripts' : `/admin/users/${owner}/scripts`;
  return (
    <header className="workshop-head">
      <h1>{owner === 'me' ? 'Scripts' : `Scripts of ${name(Number(owner))}`}</h1>
      <nav className="tabs" aria-label="Which script">
        <Link href={`${base}/incoming`} aria-current={direction === 'incoming' ? 'page' : undefined}>Incoming</Link>
        <Link href={`${base}/outgoing`} aria-current={direction === 'outgoing' ? 'page' : undefined}>Outgoing</Link>
      </nav>
      <div className="line grow workshop-state">
        {script?.activeVersion ? <Chip kind="good">Version {script.activeVersion} is running</Chip>
          : script?.switchedOff ? <Chip kind="bad">Switched off by the server</Chip> : data && <Chip>Nothing is running</Chip>}
        {script?.activeVersion && <Button kind="quiet" icon="power" busy={off.isPending} onClick={() => off.mutate()}>Disable</Button>}
      </div>
      <Button icon="script" onClick={onGallery}>Templates</Button>
      {script?.switchedOff && (
        <Note kind="bad">
          The server switched version {script.chosenVersion} off: {script.switchedOff.replace(/^\w+: /, '')}. Mend it, save and activate; what it has used counts for a while.
        </Note>
      )}
      {off.error && <Note kind="bad">{words(off.error)}</Note>}
    </header>
  );
}

interface FootProps {
  owner: Owner;
  direction: Direction;
  draft: Draft;
  change: (part: Partial<Draft>) => void;
  check: Check;
  /** The newest version is what stands in the editor. */
  same: boolean;
  newest?: number;
}

function Foot({ owner, direction, draft, change, check, same, newest }: FootProps) {
  const client = useQueryClient();
  const { data: languages } = useQuery(languagesOffered);
  const { data } = useQuery(overviewOf(owner));
  const contentType = languages?.find((one) => one.language === draft.language)?.contentType ?? 'text/x-luau';
  const save = useMutation({
    mutationFn: async (run: boolean) => {
      const { version } = await upload(owner, direction, draft.source, contentType);
      if (run) await activate(owner, direction, version);
      return { version, run };
    },
    onSettled: () => client.invalidateQueries({ queryKey: ['scripts', owner] }),
  });
  const translate = (language: Draft['language']) => change({ language, source: translated(draft.source, language, direction) });
  const running = same && newest !== undefined && data?.[direction]?.activeVersion === newest;
  return (
    <footer className="workshop-foot">
      {(languages?.length ?? 0) > 1 && (
        <select className="input" aria-label="Language" value={draft.language} onChange={(event) => translate(event.target.value as Draft['language'])}>
          {languages?.map((one) => <option key={one.language} value={one.language} disabled={!one.available}>{one.name}{one.available ? '' : ` (${one.reason ?? 'not here'})`}</option>)}
        </select>
      )}
      <p className="grow check" role="status">{save.error ? <span className="bad">{words(save.error)}</span> : <CheckWords check={check} />}</p>
      {save.data && same && <span className="hint">Version {save.data.version} {save.data.run ? 'is running' : 'is saved'}</span>}
      <Button disabled={same || check.name === 'wrong'} busy={save.isPending} onClick={() => save.mutate(false)}>Save</Button>
      <Button kind="primary" icon="play" disabled={running || check.name === 'wrong'} busy={save.isPending} onClick={() => save.mutate(true)}>
        {same ? 'Activate' : 'Save and activate'}
      </Button>
    </footer>
  );
}

function CheckWords({ check }: { check: Check }) {
  switch (check.name) {
    case 'none': return <>Nothing to check.</>;
    case 'looking': return <>Checking …</>;
    case 'good': return check.diagnostics.length === 0 ? <span className="good">It compiles.</span> : <span className="warn">It compiles, but: line {check.diagnostics[0]?.line}: {check.diagnostics[0]?.message}</span>;
    case 'wrong': return <span className="bad">Line {check.diagnostics[0]?.line ?? '?'}: {check.detail}</span>;
    case 'unknown': return <span className="warn">Not checked: {check.detail}</span>;
  }
}
