/**
 * A program: removes one lab. The lab starts it behind a shell that waits for the maker's end, so that a lab is
 * cleaned up also when its maker was killed and nobody starts another.
 */
import { destroyLab } from "./destroy.ts";

await destroyLab(process.argv[2]!);
