/** Something that is on or off. */
export function Switch({ on, onChange, label, disabled }: { on: boolean; onChange: (on: boolean) => void; label: string; disabled?: boolean }) {
  return (
    <button type="button" className="switch" role="switch" aria-checked={on} disabled={disabled} onClick={() => onChange(!on)}>
      <span className="switch-track" aria-hidden="true" />
      <span>{label}</span>
    </button>
  );
}
