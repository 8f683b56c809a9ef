// Time: the moment when the message was sent, in UTC.

type CurrentDateTimeRequestType: void {
  .format?: string
}

type GetDateTimeRequest: long {
  .format?: string
}

type DateValuesRequest: string {
  .format?: string
}

type DateValuesType: void {
  .day: int
  .month: int
  .year: int
}

interface TimeInterface {
RequestResponse:
  getCurrentDateTime( CurrentDateTimeRequestType )( string ) throws InvalidFormat,
  getCurrentDateValues( void )( DateValuesType ),
  getCurrentTimeMillis( void )( long ),
  getDateTime( GetDateTimeRequest )( string ) throws InvalidFormat,
  getDateValues( DateValuesRequest )( DateValuesType ) throws InvalidDate,
  getTimestampFromString( DateValuesRequest )( long ) throws InvalidDate,
  sleep( undefined )( undefined )
}

outputPort Time {
  Interfaces: TimeInterface
}

embedded {
  Java: "parlor.jolie.services.Time" in Time
}
