import { clean } from './project.mjs';

await clean();
