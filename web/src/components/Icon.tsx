/** The icons: strokes on a grid of 24. */

const PATHS = {
  chat: 'M4 6.5A2.500 2.500 0 0 1 6.500 4h11A2.500 2.500 0 0 1 20 6.500v7a2.500 2.500 0 0 1-2.500 2.500H12l-4.500 4v-4h-1A2.500 2.500 0 0 1 4 13.500z',
  reply: 'M10 8V4L3 11l7 7v-4.500c5 0 8 1.500 11 5.500-1-6-4-10-11-11z',
  script: 'M8 8l-4 4 4 4M16 8l4 4-4 4M13.500 5l-3 14',
  filter: 'M4 5h16l-6.500 8v5l-3 2v-7z',
  admin: 'M12 3l7.500 3v5.500c0 4.500-3 8-7.500 9.500-4.500-1.500-7.500-5-7.500-9.500V6z',
  settings: 'M4 7h9M17 7h3M4 17h3M11 17h9M15 4.500v5M9 14.500v5',
  send: 'M4 12l16-8-5 16-3.500-6.500z',
  plus: 'M12 5v14M5 12h14',
  back: 'M15 5l-7 7 7 7',
  close: 'M6 6l12 12M18 6L6 18',
  check: 'M5 12.500l4.500 4.500L19 7.500',
  checks: 'M2.500 12.500l4.500 4.500 9.500-9.500M11.500 16l1 1L22 7.500',
  clock: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4.500l3 1.500',
  alert: 'M12 4.500l8.500 15h-17zM12 10v4.500M12 17v.2',
  smile: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM8.500 14c1.800 2.500 5.200 2.500 7 0M9.200 9.700v.3M14.800 9.700v.3',
  down: 'M12 5v14M6 13l6 6 6-6',
  search: 'M11 5a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM15.500 15.500L20 20',
  play: 'M8 5.500v13l10-6.500z',
  robot: 'M6 9.500A1.500 1.500 0 0 1 7.500 8h9A1.500 1.500 0 0 1 18 9.500v7a1.500 1.500 0 0 1-1.500 1.500h-9A1.500 1.500 0 0 1 6 16.500zM12 8V5M9.500 12v1M14.500 12v1M3.500 12v2.500M20.500 12v2.500',
  history: 'M4 12a8 8 0 1 1 2.500 5.800M4 12V8M4 12h4M12 8v4.500l3 1.500',
  restore: 'M9 7L4 12l5 5M4 12h10a5 5 0 0 1 5 5',
  power: 'M12 4v8M7.500 6.500a7 7 0 1 0 9 0',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, className = '' }: { name: IconName; className?: string }) {
  return (
    <svg className={`icon ${className}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
