// Prints what `railway.ts` beside it declares, as JSON.
import { createRailwayContext, project } from "railway/iac";
import program from "./railway.js";

const declared = await program(createRailwayContext(), project);
console.log(JSON.stringify(declared));
