/** Buttons; one that is busy says so and cannot be pressed twice. */

import type { ButtonHTMLAttributes, ReactNode } from 'react';

import { Icon, type IconName } from './Icon.tsx';

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  kind?: 'primary' | 'plain' | 'quiet' | 'danger';
  icon?: IconName;
  busy?: boolean;
  children: ReactNode;
}

export function Button({ kind = 'plain', icon, busy = false, children, className = '', disabled, ...rest }: ButtonProps) {
  return (
    <button type="button" className={`button ${kind} ${className}`} aria-busy={busy || undefined} disabled={disabled || busy} {...rest}>
      {icon && <Icon name={icon} />}
      <span>{children}</span>
    </button>
  );
}

interface IconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  icon: IconName;
  label: string;
}

export function IconButton({ icon, label, className = '', ...rest }: IconButtonProps) {
  return (
    <button type="button" className={`icon-button ${className}`} aria-label={label} title={label} {...rest}>
      <Icon name={icon} />
    </button>
  );
}
