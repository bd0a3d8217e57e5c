/** Looking: which part of the machine answers an `inspect`, and what it reads for that. */
import type { Inspect, Reply } from '../model/command.ts';
import { inspectBulks } from './bulks.ts';
import type { ColdView, Need } from './cold.ts';
import { applyEvents, planEvents } from './events.ts';
import { applyFlowView, planFlowView } from './flow-views.ts';
import { applyInspect, planInspect } from './inspect.ts';
import type { Session } from './memory.ts';
import { applySearch, planSearch } from './search.ts';
import type { MachineState } from './state.ts';
import { applyUsage, planUsage } from './usage-report.ts';

export function planReading(state: MachineState, session: Session, command: Inspect, view: ColdView): Need | undefined {
  switch (command.what) {
    case 'children':
    case 'flow':
      return planFlowView(state, session, command, view);
    case 'events':
      return planEvents(state, session, command, view);
    case 'search':
      return planSearch(state, session, command, view);
    case 'usage':
      return planUsage(state, command, view);
    case 'bulks':
      return undefined;
    default:
      return planInspect(state, session, command, view);
  }
}

export function applyReading(state: MachineState, session: Session, command: Inspect, view: ColdView): Reply {
  switch (command.what) {
    case 'children':
    case 'flow':
      return applyFlowView(state, session, command, view);
    case 'events':
      return applyEvents(state, session, command, view);
    case 'search':
      return applySearch(state, session, command, view);
    case 'usage':
      return applyUsage(state, command, view);
    case 'bulks':
      return inspectBulks(state, session, command);
    default:
      return applyInspect(state, session, command, view);
  }
}
