/** A labelled field, with what is wrong with it below. */

import { useId, type InputHTMLAttributes } from 'react';

interface FieldProps extends InputHTMLAttributes<HTMLInputElement> {
  label: string;
  hint?: string;
  error?: string;
}

export function Field({ label, hint, error, ...rest }: FieldProps) {
  const id = useId();
  const below = error ?? hint;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} aria-invalid={error ? true : undefined} aria-describedby={below ? `${id}-below` : undefined} {...rest} />
      {below && <p id={`${id}-below`} className={error ? 'field-error' : 'field-hint'}>{below}</p>}
    </div>
  );
}
