// StringUtils: what a script does with text.

type ContainsRequest: string {
  .substring: string
}

type StartsWithRequest: string {
  .prefix: string
}

type EndsWithRequest: string {
  .suffix: string
}

type IndexOfRequest: string {
  .word: string
}

type SubStringRequest: string {
  .begin: int
  .end?: int
}

type ReplaceRequest: string {
  .regex: string
  .replacement: string
}

type MatchRequest: string {
  .regex: string
}

type MatchResult: int {
  .group*: string
}

type SplitRequest: string {
  .regex: string
  .limit?: int
}

type SplitResult: void {
  .result*: string
}

type SplitByLengthRequest: string {
  .length: int
}

type UrlRequest: string {
  .charset?: string
}

type JoinRequest: void {
  .delimiter: string
  .piece*: string
}

type StringItemList: void {
  .item*: string
}

type PadRequest: string {
  .length: int
  .char: string
}

interface StringUtilsInterface {
RequestResponse:
  contains( ContainsRequest )( bool ),
  endsWith( EndsWithRequest )( bool ),
  find( MatchRequest )( MatchResult ) throws InvalidRegex,
  getRandomUUID( void )( string ),
  indexOf( IndexOfRequest )( int ),
  join( JoinRequest )( string ),
  leftPad( PadRequest )( string ) throws InvalidCharacter,
  length( string )( int ),
  match( MatchRequest )( MatchResult ) throws InvalidRegex,
  replaceAll( ReplaceRequest )( string ) throws InvalidRegex InvalidReplacement,
  replaceFirst( ReplaceRequest )( string ) throws InvalidRegex InvalidReplacement,
  rightPad( PadRequest )( string ) throws InvalidCharacter,
  sort( StringItemList )( StringItemList ),
  split( SplitRequest )( SplitResult ) throws InvalidRegex,
  splitByLength( SplitByLengthRequest )( SplitResult ) throws InvalidLength,
  startsWith( StartsWithRequest )( bool ),
  substring( SubStringRequest )( string ) throws IndexOutOfBounds,
  toLowerCase( string )( string ),
  toUpperCase( string )( string ),
  trim( string )( string ),
  urlDecode( UrlRequest )( string ) throws InvalidText,
  urlEncode( UrlRequest )( string ) throws InvalidText,
  valueToPrettyString( undefined )( string )
}

service StringUtils {
  inputPort Operations {
    location: "local"
    interfaces: StringUtilsInterface
  }

  foreign java {
    class: "parlor.jolie.services.StringUtils"
  }
}
