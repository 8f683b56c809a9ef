/** A small picture of what the script has done: verdicts, and the time of its last runs. */

import { useQuery } from '@tanstack/react-query';

import { Empty, Loading, Trouble } from '@/components/States.tsx';
import { count, micros } from '@/lib/format.ts';

import { logOf, overviewOf, type Direction, type LogEntry, type Owner } from '../api/scripts.ts';

const VERDICTS = [['forwarded', 'forward', 'Forwarded'], ['edited', 'edited', 'Edited'], ['dropped', 'drop', 'Dropped'], ['failed', 'failed', 'Failed']] as const;
const [WIDTH, HEIGHT] = [360, 120];

export function Figures({ owner, direction }: { owner: Owner; direction: Direction }) {
  const { data, error, isPending } = useQuery(overviewOf(owner));
  const { data: log } = useQuery(logOf(owner, direction));
  if (isPending) return <Loading />;
  if (error && !data) return <Trouble error={error} />;
  const stats = data[direction]?.stats;
  if (!stats || stats.runs === 0) return <Empty icon="script" title="No runs yet">Since the server started, no message has passed this script.</Empty>;
  const runs = (log ?? []).filter((entry) => entry.cpuMicros != null).slice(0, 40).reverse();
  return (
    <div className="stack">
      <dl className="numbers">
        <div><dt>Runs</dt><dd>{count(stats.runs)}</dd></div>
        <div><dt>Answers sent</dt><dd>{count(stats.replies)}</dd></div>
        <div><dt>A run, on average</dt><dd>{micros(Math.round(stats.cpuMicros / stats.runs))}</dd></div>
        <div><dt>With waiting</dt><dd>{micros(Math.round(stats.wallMicros / stats.runs))}</dd></div>
      </dl>
      <div>
        <h2>What came of them</h2>
        <svg className="verdict-bar" viewBox="0 0 360 14" preserveAspectRatio="none" aria-hidden="true"><Parts stats={stats} /></svg>
        <ul className="legend">
          {VERDICTS.filter(([key]) => stats[key] > 0).map(([key, verdict, label]) => (
            <li key={key}><span className={`legend-dot v-${verdict}`} aria-hidden="true" />{label} <strong>{count(stats[key])}</strong></li>
          ))}
        </ul>
      </div>
      {runs.length > 0 && <Times runs={runs} />}
      <p className="hint">Counted since the server started.</p>
    </div>
  );
}

function Parts({ stats }: { stats: Record<(typeof VERDICTS)[number][0], number> & { runs: number } }) {
  let from = 0;
  return VERDICTS.map(([key, verdict]) => {
    const width = (stats[key] / stats.runs) * WIDTH;
    const x = from;
    from += width;
    return width > 0 && <rect key={key} className={`v-${verdict}`} x={x} y="0" width={width} height="14" />;
  });
}

function Times({ runs }: { runs: readonly LogEntry[] }) {
  const most = Math.max(...runs.map((run) => run.cpuMicros ?? 0), 1);
  const step = WIDTH / Math.max(runs.length, 12);
  return (
    <figure>
      <h2>Processor time of the last runs noted</h2>
      <svg className="times" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`Processor time of the last ${runs.length} runs noted; the longest took ${micros(most)}`}>
        <line x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} className="axis" />
        <line x1="0" x2={WIDTH} y1="18.500" y2="18.500" className="axis dashed" />
        <text x="0" y="12">{micros(most)}</text>
        {runs.map((run, n) => {
          const height = Math.max(2, ((run.cpuMicros ?? 0) / most) * (HEIGHT - 20));
          return <rect key={run.id} className={`v-${run.verdict}`} x={n * step + 1} y={HEIGHT - height} width={Math.min(step - 2, 22)} height={height} rx="1.500" />;
        })}
      </svg>
    </figure>
  );
}
