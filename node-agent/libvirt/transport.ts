/** The port between the agent and its driver child, so that a simulation can play one that hangs, dies or is late. */
import type { FromDriver, ToDriver } from "./protocol.ts";

export interface DriverProcess {
  /** Never throws; what is sent to a process that is gone is lost, and `exited` tells. */
  send(message: ToDriver): void;
  /** Ends it at once, whatever it is doing. `exited` follows. */
  kill(): void;
}

export type DriverListener = {
  message(message: FromDriver): void;
  /** Once, and the last thing heard. */
  exited(reason: string): void;
};

export interface DriverTransport {
  spawn(listener: DriverListener): DriverProcess;
}
