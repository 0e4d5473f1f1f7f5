// A node with one reader's board, in a process of its own.
import type { Post } from '../../node/post/post.ts';
import type { Address } from '../../policy/address.ts';
import { runProgram } from '../machines/post-program.ts';
import { Board } from './board.ts';

export type Asked =
  | { readonly ask: 'begin'; readonly readers: readonly Address[] }
  | { readonly ask: 'change'; readonly board: string; readonly readers: readonly Address[] }
  | { readonly ask: 'publish'; readonly board: string; readonly title: string; readonly text: string }
  | { readonly ask: 'boards' | 'notes' | 'stop' };

async function answer(asked: Asked, board: Board, post: Post): Promise<unknown> {
  switch (asked.ask) {
    case 'begin':
      return board.begin(asked.readers);
    case 'change':
      return board.change(asked.board, asked.readers);
    case 'publish':
      return board.publish(asked.board, asked.title, asked.text);
    case 'boards':
      return board.boards;
    case 'notes':
      return Promise.all(board.notes.map(async (note) => `${note.author}: ${note.title}: ${await board.read(note)}`));
    default:
      await board.close();
      await post.stop();
      return null;
  }
}

await runProgram(async (post, who) => Board.open(post, who), answer);
