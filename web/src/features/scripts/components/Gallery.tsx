/** Scripts to begin with. */

import { useQuery } from '@tanstack/react-query';
import { useLocation } from 'wouter';

import { Dialog } from '@/components/Dialog.tsx';
import { Chip, Loading, Trouble } from '@/components/States.tsx';

import { templatesOffered, type Direction, type Template } from '../api/scripts.ts';

interface GalleryProps {
  direction: Direction;
  onPick: (template: Template) => void;
  onClose: () => void;
}

export function Gallery({ direction, onPick, onClose }: GalleryProps) {
  const { data, error, isPending } = useQuery(templatesOffered);
  const [path, navigate] = useLocation();
  const other: Direction = direction === 'incoming' ? 'outgoing' : 'incoming';
  const shown = data?.filter((template) => template.direction === direction) ?? [];
  return (
    <Dialog title={direction === 'incoming' ? 'Templates for what comes in' : 'Templates for what you send'} onClose={onClose} wide>
      <div className="dialog-body">
        {isPending && <Loading />}
        {error && <Trouble error={error} />}
        <ul className="gallery">
          {shown.map((template) => (
            <li key={template.name}>
              <button type="button" className="template" onClick={() => onPick(template)}>
                <span className="template-title">{template.title}{template.language !== 'luau' && <Chip>{template.language}</Chip>}</span>
                <span className="template-text">{template.description}</span>
              </button>
            </li>
          ))}
        </ul>
        <p className="hint">
          It takes the place of what stands in the editor.{' '}
          <button type="button" className="link" onClick={() => { onClose(); navigate(path.replace(direction, other)); }}>Those for the {other} script</button>
        </p>
      </div>
    </Dialog>
  );
}
