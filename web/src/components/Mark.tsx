/** Parlor's mark, the same as `public/icon.svg`, in the page itself: nothing is fetched for it. */

export function Mark({ size, className }: { size: number; className?: string }) {
  return (
    <svg className={className} width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" fill="#2c6152" />
      <path fill="#f4efe4" d="M8 11.5A3.5 3.5 0 0 1 11.5 8h9a3.5 3.5 0 0 1 3.5 3.5v6a3.5 3.5 0 0 1-3.5 3.5H15l-4.3 3.6a.7.7 0 0 1-1.2-.5V21A3.5 3.5 0 0 1 8 17.5z" />
      <path fill="none" stroke="#2c6152" strokeWidth="1.7" strokeLinecap="round" strokeLinejoin="round" d="m13 12.7 2.6 2.1-2.6 2.1M17 17h2.6" />
    </svg>
  );
}
