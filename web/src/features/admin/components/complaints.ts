/** From what the nodes tell to what is wrong, in sentences; and what is not there but need not be. */

import type { Schemas } from '@/lib/api.ts';

type Node = Pick<Schemas['NodeBody'], 'id' | 'stages' | 'draining' | 'version'>;
type Language = Pick<Schemas['LanguageBody'], 'name' | 'available' | 'reason'>;

/** Without one of these somewhere, messages lie or nobody gets in. */
const NEEDED = ['gateway', 'outgoing', 'incoming', 'auto-reply', 'router'];

export function complaints(nodes: readonly Node[] | undefined, trouble: string | undefined): string[] {
  const found: string[] = [];
  if (trouble) found.push(`It cannot be told how the nodes are: ${trouble}`);
  if (nodes) {
    for (const node of nodes.filter((one) => one.draining)) found.push(`Node ${node.id} is stopping: it hands its connections over and finishes what it has.`);
    const running = nodes.filter((one) => !one.draining);
    for (const stage of NEEDED.filter((name) => !running.some((node) => node.stages.includes(name)))) {
      found.push(stage === 'gateway' ? 'No running node lets anybody in.' : `No running node does “${stage}”: messages wait there.`);
    }
    const versions = [...new Set(nodes.map((node) => node.version))];
    if (versions.length > 1) found.push(`The nodes run different versions: ${versions.join(', ')}.`);
  }
  return found;
}

/** A server without one of its languages is well: it was not asked to have it. */
export function remarks(languages: readonly Language[] = []): string[] {
  return languages.filter((one) => !one.available).map((one) => `Scripts in ${one.name} do not run here: ${one.reason ?? 'no reason is known'}.`);
}
