/** Events: repeats are folded into the one that is there. */
import type {
  CreateEventRequest, DeleteEventRequest, GetEventRequest, ListEventsRequest, WatchEventsRequest,
} from "../../gen/drover/v1/event.ts";
import type { ControlEventServiceImplementation } from "../../gen/drover/control/v1/events.ts";
import { recordEvent, recordEvents } from "../records/events.ts";
import { events } from "../kinds/table.ts";
import type { WithCall } from "../objects.ts";
import { crud } from "./crud.ts";
import type { ServiceParts } from "./service.ts";

export function eventRecords(parts: ServiceParts) {
  const records = crud(events, parts);
  return {
    createEvent: async (request: CreateEventRequest, { call }: WithCall) => ({ event: await recordEvent(parts, request.event, call) }),

    getEvent: async (request: GetEventRequest) => ({ event: await records.get(request) }),

    async listEvents(request: ListEventsRequest, { call }: WithCall) {
      const { items, ...page } = await records.list(request, call);
      return { ...page, events: items };
    },

    watchEvents: (request: WatchEventsRequest, { call }: WithCall) =>
      records.watch(request, call, (event, reason) => ({ event, reason })),

    deleteEvent: async (request: DeleteEventRequest, { call }: WithCall) => ({ event: await records.remove(request, call) }),
  };
}

/** The controller's own, many at once. */
export function controlEvents(parts: ServiceParts): ControlEventServiceImplementation<WithCall> {
  return {
    async recordEvents(request, { call }) {
      await recordEvents(parts, request.events, call);
      return {};
    },
  };
}
