/** What goes wrong while a screen is loaded or drawn stays there: the rest of the page goes on, and says so. */

import { Component, type ReactNode } from 'react';

import { Button } from './Button.tsx';
import { Icon } from './Icon.tsx';

interface BoundaryProps {
  /** Another place is another attempt. */
  place: string;
  children: ReactNode;
}

export class Boundary extends Component<BoundaryProps, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  override componentDidUpdate(before: BoundaryProps): void {
    if (this.state.failed && before.place !== this.props.place) this.setState({ failed: false });
  }

  override render(): ReactNode {
    if (!this.state.failed) return this.props.children;
    return (
      <main className="page">
        <div className="state trouble" role="alert">
          <Icon name="alert" className="large" />
          <h1>This part of the page could not be opened</h1>
          <p>The server cannot be reached, or has a newer page than this one. What you wrote is kept.</p>
          <Button onClick={() => location.reload()}>Reload the page</Button>
        </div>
      </main>
    );
  }
}
