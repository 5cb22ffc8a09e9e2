/** The limits of one listener as a call meets them: its connection first, then its caller. */
import type { CallContext, MethodDescriptor } from "nice-grpc-common";
import { ResourceExhausted } from "../../lib/errors.ts";
import type { Caller } from "../objects.ts";
import type { CallBudgets } from "./call-budgets.ts";
import type { Connections } from "./connections.ts";

export type AdmissionParts = { connections: Pick<Connections, "requireRoom" | "cut">; budgets: CallBudgets; isLocal: boolean };

/** Who goes on although it is told to wait loses its connection. */
export function admission({ connections, budgets, isLocal }: AdmissionParts) {
  return (caller: Caller, { peer }: CallContext, method: MethodDescriptor): Disposable => {
    try {
      connections.requireRoom(peer);
      return budgets.enter({ caller, method, isLocal });
    } catch (error) {
      if (error instanceof ResourceExhausted && !budgets.minds(caller)) connections.cut(peer, `calls of "${caller.subject}", which was told to wait`);
      throw error;
    }
  };
}
