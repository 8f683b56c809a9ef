package parlor.jolie;

import java.net.URI;
import java.util.Optional;
import jolie.lang.CodeCheckException;
import jolie.lang.CodeCheckMessage;
import jolie.lang.parse.ParserException;
import jolie.lang.parse.SemanticVerifier;
import jolie.lang.parse.context.ParsingContext;
import jolie.lang.parse.module.Modules;

/** Whether a source compiles, and where not. */
final class Check {
  /** How the parser names what it did not expect. */
  private static final String FOUND = "Found term: ";
  /** Characters of help that are passed on. What is longer lists the whole grammar. */
  private static final int LONGEST_HELP = 200;

  private Check() {}

  static Answer of(Library library, String source) {
    URI name = library.script().toURI();
    Modules.freeCache(name);
    try {
      Modules.ModuleParsedResult parsed = Modules.parseModule(library.parsing(), Library.stream(source), name);
      SemanticVerifier.Configuration how = new SemanticVerifier.Configuration(null);
      new SemanticVerifier(parsed.mainProgram(), parsed.symbolTables(), how).validate();
      return Answer.fine();
    } catch (CodeCheckException refused) {
      return refused(refused, source);
    } catch (Exception | StackOverflowError broken) {
      return Answer.refused(0, 0, "the parser gave up: " + broken.getClass().getSimpleName());
    }
  }

  private static Answer refused(CodeCheckException refused, String source) {
    for (CodeCheckMessage message : refused.messages()) {
      String words = message.description().orElse("does not compile").strip();
      String help = message.help().orElse("").strip();
      if (!help.isEmpty() && help.length() <= LONGEST_HELP) {
        words = words + ": " + help;
      }
      Optional<ParsingContext> place = message.context();
      if (place.isEmpty()) {
        return Answer.refused(0, 0, words);
      }
      int column = place.get().startColumn();
      // Lines are counted from 0. A place behind the end of a line is one in the next, before its beginning.
      int line = column < 0 ? place.get().startLine() : place.get().startLine() + 1;
      // The parser counts columns from 1, what looks for sense from 0.
      column = refused instanceof ParserException ? column : column + 1;
      line = Math.min(line, Math.max(1, (int) source.lines().count()));
      return Answer.refused(line, column < 1 ? column(source, line, words) : column, words);
    }
    return Answer.refused(0, 0, "does not compile");
  }

  /** Where in a line the term stands that the words speak of; 1 when that is not to be seen. */
  private static int column(String source, int line, String words) {
    int at = words.indexOf(FOUND);
    String term = at < 0 ? "" : words.substring(at + FOUND.length()).split("\n", 2)[0];
    String text = source.lines().skip(Math.max(0, line - 1)).findFirst().orElse("");
    return term.isEmpty() ? 1 : Math.max(0, text.indexOf(term)) + 1;
  }
}
