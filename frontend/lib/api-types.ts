// Written by scripts/api-types.mjs from the service's OpenAPI document. Do not edit.

export interface paths {
    "/api/predict": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Predict
         * @description Forecast the closing price one hour after a moment, with intervals, and what came where it is known.
         */
        get: operations["predict_api_predict_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/accuracy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Accuracy
         * @description Score the forecasts that were made before their hour was over, by day and in all, with the test that tells skill from luck, beside the backtest.
         */
        get: operations["get_accuracy_api_accuracy_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get History
         * @description Tell the last hours' prices and what was really forecast for each of them: what a chart needs, in one piece.
         */
        get: operations["get_history_api_history_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Stream
         * @description Server-sent events: price (a PriceTick, at most one a second), forecast (a PredictionAnswer) and scored (a ScoredForecast).
         */
        get: operations["get_stream_api_stream_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/coins": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Coins
         * @description List the coins that are served.
         */
        get: operations["get_coins_api_coins_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Models
         * @description List the models: versions, aliases, training spans, metrics, when last retrained, and what happened last and why.
         */
        get: operations["get_models_api_models_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/live": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Live
         * @description Tell that the process is alive.
         */
        get: operations["live_health_live_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health/ready": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Ready
         * @description Tell whether forecasts can be answered, and if not, why.
         */
        get: operations["ready_health_ready_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * Accuracy
         * @description How a kind of model has done for one coin.
         */
        Accuracy: {
            /**
             * N
             * @description Forecasts made before their hour was over and scored since
             */
            n: number;
            /**
             * Mae
             * @description Mean absolute error, in the quote currency
             */
            mae: number | null;
            /**
             * Mae Persistence
             * @description The same of 'no change' in the same hours
             */
            mae_persistence: number | null;
            /**
             * Mase
             * @description mae / mae_persistence; below 1 is better than doing nothing
             */
            mase: number | null;
            /**
             * Direction
             * @description Share of moves whose sign was right
             */
            direction: number | null;
            /**
             * Coverage 50
             * @description Share of prices within the 50 % interval
             */
            coverage_50: number | null;
            /**
             * Coverage 90
             * @description Share of prices within the 90 % interval
             */
            coverage_90: number | null;
            /**
             * Unscored
             * @description Forecasts that wait for their price
             */
            unscored: number;
            /**
             * Without Trades
             * @description Forecasts of hours in which nobody traded
             */
            without_trades: number;
            /** Coin */
            coin: string;
            /**
             * Model
             * @description Kind of the model; all of its versions count
             */
            model: string;
            /**
             * Model Version
             * @description The version on duty
             */
            model_version: string;
            /** Source */
            source: string;
            /**
             * Mode
             * @enum {string}
             */
            mode: "hour" | "rolling";
            /**
             * Days
             * @description How far back; for days=all, days since the first forecast that counts
             */
            days: number;
            /**
             * Since
             * @description Start of the first day that counts, null when there is none
             */
            since: string | null;
            /**
             * By Day
             * @description Oldest first
             */
            by_day: components["schemas"]["DayScore"][];
            /** @description The version on duty alone */
            this_version: components["schemas"]["Score"];
            /** @description What the backtest of that version promised */
            backtest: components["schemas"]["BacktestSummary"];
            /**
             * Dm T
             * @description Diebold-Mariano statistic of the absolute errors against those of 'no change' over the n forecasts (Newey-West, 24 lags); negative when the model is better, null for persistence, for mode=rolling and where nothing differs
             */
            dm_t: number | null;
            /**
             * Dm P
             * @description Probability of such a dm_t or a lower one if the model were as good as 'no change' (normal approximation)
             */
            dm_p: number | null;
            /** @description What chance alone does with as many forecasts; null without dm_t and below 50 forecasts */
            luck: components["schemas"]["Luck"] | null;
        };
        /**
         * AccuracyAnswer
         * @description What GET /api/accuracy answers.
         */
        AccuracyAnswer: {
            accuracy: components["schemas"]["Accuracy"];
        };
        /**
         * BacktestSummary
         * @description How the model did on hours it had not seen.
         */
        BacktestSummary: {
            /**
             * Mase
             * @description Mean absolute error over that of 'no change'; below 1 is better than persistence, null where not measured
             */
            mase: number | null;
            /**
             * Coverage 90
             * @description Share of prices that lay within the 90 % interval, null where not measured
             */
            coverage_90: number | null;
        };
        /**
         * CoinInfo
         * @description A coin that can be asked for.
         */
        CoinInfo: {
            /** Coin */
            coin: string;
            /**
             * Source
             * @description Where its candles come from
             */
            source: string;
            /**
             * Champion
             * @description Kind of the model that answers by default
             */
            champion: string;
            /** Champion Version */
            champion_version: string;
            /**
             * Models
             * @description What model_name may be
             */
            models: string[];
            /**
             * Data Until
             * @description End of the last closed hour at hand, null before the first candles came
             */
            data_until: string | null;
        };
        /**
         * Coins
         * @description What GET /api/coins answers.
         */
        Coins: {
            /** Coins */
            coins: components["schemas"]["CoinInfo"][];
        };
        /**
         * DayScore
         * @description Of one day.
         */
        DayScore: {
            /**
             * N
             * @description Forecasts made before their hour was over and scored since
             */
            n: number;
            /**
             * Mae
             * @description Mean absolute error, in the quote currency
             */
            mae: number | null;
            /**
             * Mae Persistence
             * @description The same of 'no change' in the same hours
             */
            mae_persistence: number | null;
            /**
             * Mase
             * @description mae / mae_persistence; below 1 is better than doing nothing
             */
            mase: number | null;
            /**
             * Direction
             * @description Share of moves whose sign was right
             */
            direction: number | null;
            /**
             * Coverage 50
             * @description Share of prices within the 50 % interval
             */
            coverage_50: number | null;
            /**
             * Coverage 90
             * @description Share of prices within the 90 % interval
             */
            coverage_90: number | null;
            /**
             * Unscored
             * @description Forecasts that wait for their price
             */
            unscored: number;
            /**
             * Without Trades
             * @description Forecasts of hours in which nobody traded
             */
            without_trades: number;
            /**
             * Day
             * @description Date, UTC
             * @example 2024-01-31
             */
            day: string;
        };
        /**
         * Health
         * @description How the service is.
         */
        Health: {
            /**
             * Status
             * @example live
             * @example ready
             */
            status: string;
            /**
             * Problems
             * @description What is not as it should be, while the service answers nevertheless
             */
            problems: string[];
        };
        /**
         * History
         * @description What the price was, and what was said about it.
         */
        History: {
            /** Coin */
            coin: string;
            /**
             * Model
             * @description Kind of the model on duty; all of its versions count
             */
            model: string;
            /**
             * Model Version
             * @description The version on duty
             */
            model_version: string;
            /** Source */
            source: string;
            /**
             * Until
             * Format: date-time
             * @description End of the last closed hour
             * @example 2024-01-31T15:00:00Z
             */
            until: string;
            /**
             * Stale
             * @description True when the exchange is away and there should be more prices
             */
            stale: boolean;
            /**
             * Prices
             * @description Oldest first, the last one at until; hours without trades are absent
             */
            prices: components["schemas"]["PastPrice"][];
            /**
             * Forecasts
             * @description Oldest first, up to the coming hour; hours that nobody forecast are absent
             */
            forecasts: components["schemas"]["ToldForecast"][];
        };
        /**
         * HistoryAnswer
         * @description What GET /api/history answers.
         */
        HistoryAnswer: {
            history: components["schemas"]["History"];
        };
        /**
         * Interval
         * @description A range that should hold the price with probability `level`.
         */
        Interval: {
            /**
             * Level
             * @description Probability that the price lies within
             */
            level: number;
            /** Low */
            low: number;
            /** High */
            high: number;
        };
        /**
         * Luck
         * @description What chance alone does: forecasts as good as 'no change', over as many hours, with errors that scatter like these.
         */
        Luck: {
            /**
             * Share
             * @description Share of samples within the bounds below
             * @example 0.9
             */
            share: number;
            /**
             * T
             * @description Bound of the absolute value of dm_t; beyond it the difference is hardly luck
             */
            t: number;
            /**
             * Mase Low
             * @description Lower bound of mase
             */
            mase_low: number;
            /**
             * Mase High
             * @description Upper bound of mase
             */
            mase_high: number;
            /**
             * Hours For One Percent
             * @description Hours after which an advantage of one percent passes the bound as likely as not
             */
            hours_for_one_percent: number;
        };
        /**
         * ModelInfo
         * @description What the registry has exported for one coin, and what of it is on duty.
         */
        ModelInfo: {
            /**
             * Name
             * @description Registered name, source.product
             */
            name: string;
            /** Coin */
            coin: string;
            /** Source */
            source: string;
            /**
             * Versions
             * @description Kind, training span and metrics by version
             */
            versions: {
                [key: string]: {
                    [key: string]: unknown;
                };
            };
            /**
             * Aliases
             * @description The version each alias means in the registry
             */
            aliases: {
                [key: string]: string;
            };
            /**
             * Serving
             * @description The version that answers for each alias; another one only where a fault says why
             */
            serving: {
                [key: string]: string;
            };
            /**
             * Faults
             * @description Why a version is kept out
             */
            faults: {
                [key: string]: string;
            };
            /** Last Retrained */
            last_retrained: string | null;
            /**
             * Last Decision
             * @description Whether the last challenger was promoted, and the reasons
             */
            last_decision: {
                [key: string]: unknown;
            } | null;
            /**
             * Last Event
             * @description What happened last: event (promoted, refused or rolled_back), kind, version, previous_version, reasons and time; null where the bundles were exported before this was recorded
             */
            last_event: {
                [key: string]: unknown;
            } | null;
        };
        /**
         * Models
         * @description What GET /api/models answers.
         */
        Models: {
            /** Models */
            models: components["schemas"]["ModelInfo"][];
        };
        /**
         * PastPrice
         * @description A close and the moment it was the price.
         */
        PastPrice: {
            /**
             * Time
             * Format: date-time
             * @description End of the hour
             * @example 2024-01-31T15:00:00Z
             */
            time: string;
            /** Close */
            close: number;
        };
        /**
         * PredictionAnswer
         * @description What GET /api/predict answers.
         */
        PredictionAnswer: {
            prediction: components["schemas"]["PredictionResult"];
        };
        /**
         * PredictionResult
         * @description The forecast of the next hour's closing price, with what is needed to judge it.
         */
        PredictionResult: {
            /** Coin */
            coin: string;
            /**
             * Model
             * @description Kind of the model that answered
             */
            model: string;
            /** Model Version */
            model_version: string;
            /**
             * Source
             * @description Where the candles come from
             */
            source: string;
            /**
             * Mode
             * @description What the forecast knows: whole hours, or (experimental) hours that end at any minute
             * @enum {string}
             */
            mode: "hour" | "rolling";
            /**
             * Request Time
             * Format: date-time
             * @description When this was asked, by the exchange's clock
             * @example 2024-01-31T15:00:00Z
             */
            request_time: string;
            /**
             * Data Until
             * Format: date-time
             * @description End of the last closed hour that the forecast knows; in rolling mode, of the last closed minute
             * @example 2024-01-31T15:00:00Z
             */
            data_until: string;
            /**
             * Predicted For
             * Format: date-time
             * @description The moment of the predicted price, one hour later
             * @example 2024-01-31T15:00:00Z
             */
            predicted_for: string;
            /**
             * Current Price
             * @description Close at data_until
             */
            current_price: number;
            /**
             * Predicted Price
             * @description Median forecast
             */
            predicted_price: number;
            /**
             * Difference
             * @description predicted_price - current_price
             */
            difference: number;
            /**
             * Difference Bps
             * @description The same in hundredths of a percent of current_price
             */
            difference_bps: number;
            /** @description 90 % interval */
            interval: components["schemas"]["Interval"];
            /** @description 50 % interval */
            interval_50: components["schemas"]["Interval"];
            /**
             * Past 24 Hour Prices
             * @description Oldest first, the last one at data_until
             */
            past_24_hour_prices: components["schemas"]["PastPrice"][];
            /**
             * Actual Price
             * @description Price at predicted_for, null until known
             */
            actual_price: number | null;
            /**
             * Stale
             * @description True when the exchange is away and later hours should have been known
             */
            stale: boolean;
            /**
             * Unusual Hours
             * @description Ends of the hours of the last week whose return is beyond 12 volatilities: a wrong price, a redenomination, or news
             */
            unusual_hours: string[];
            backtest: components["schemas"]["BacktestSummary"];
        };
        /**
         * Problem
         * @description Problem details as RFC 9457 defines them.
         */
        Problem: {
            /**
             * Type
             * @description What kind of problem this is; about:blank where the status says it all
             */
            type: string;
            /** Title */
            title: string;
            /** Status */
            status: number;
            /**
             * Detail
             * @description What was wrong this time, and what would be right
             */
            detail: string;
        };
        /**
         * Score
         * @description What forecasts were worth; null where there is nothing to divide by.
         */
        Score: {
            /**
             * N
             * @description Forecasts made before their hour was over and scored since
             */
            n: number;
            /**
             * Mae
             * @description Mean absolute error, in the quote currency
             */
            mae: number | null;
            /**
             * Mae Persistence
             * @description The same of 'no change' in the same hours
             */
            mae_persistence: number | null;
            /**
             * Mase
             * @description mae / mae_persistence; below 1 is better than doing nothing
             */
            mase: number | null;
            /**
             * Direction
             * @description Share of moves whose sign was right
             */
            direction: number | null;
            /**
             * Coverage 50
             * @description Share of prices within the 50 % interval
             */
            coverage_50: number | null;
            /**
             * Coverage 90
             * @description Share of prices within the 90 % interval
             */
            coverage_90: number | null;
            /**
             * Unscored
             * @description Forecasts that wait for their price
             */
            unscored: number;
            /**
             * Without Trades
             * @description Forecasts of hours in which nobody traded
             */
            without_trades: number;
        };
        /**
         * ToldForecast
         * @description What was said about one hour, and what came.
         */
        ToldForecast: {
            /**
             * Predicted For
             * Format: date-time
             * @description End of the hour
             * @example 2024-01-31T15:00:00Z
             */
            predicted_for: string;
            /**
             * Predicted Price
             * @description Median forecast
             */
            predicted_price: number;
            /**
             * Current Price
             * @description Close one hour before, which the forecast knew
             */
            current_price: number;
            /** @description 90 % interval */
            interval: components["schemas"]["Interval"];
            /** @description 50 % interval */
            interval_50: components["schemas"]["Interval"];
            /**
             * Actual Price
             * @description Price at predicted_for, null until known
             */
            actual_price: number | null;
            /** Model Version */
            model_version: string;
            /**
             * Requested
             * Format: date-time
             * @description When it was made, by the exchange's clock
             * @example 2024-01-31T15:00:00Z
             */
            requested: string;
            /**
             * Late
             * @description Made after its hour had closed, to make up for an outage; never counted in the record
             */
            late: boolean;
        };
        /**
         * RunningHour
         * @description The hour that has not closed yet.
         */
        RunningHour: {
            /**
             * Time
             * Format: date-time
             * @description Its start
             * @example 2024-01-31T15:00:00Z
             */
            time: string;
            /** Open */
            open: number;
            /** High */
            high: number;
            /** Low */
            low: number;
            /** Close */
            close: number;
            /** Volume */
            volume: number;
            /**
             * Whole
             * @description Whether all trades of this hour are known to be in
             */
            whole: boolean;
        };
        /**
         * PriceTick
         * @description Event `price`: the last trade, at most one a second.
         */
        PriceTick: {
            /** Coin */
            coin: string;
            /**
             * Time
             * Format: date-time
             * @description When it was traded
             * @example 2024-01-31T15:00:00Z
             */
            time: string;
            /** Price */
            price: number;
            /**
             * Via
             * @description websocket, or rest where that is away
             */
            via: string;
            hour: components["schemas"]["RunningHour"];
        };
        /**
         * ScoredForecast
         * @description Event `scored`: a forecast whose hour has closed.
         */
        ScoredForecast: {
            /** Coin */
            coin: string;
            /** Model */
            model: string;
            /** Model Version */
            model_version: string;
            /**
             * Predicted For
             * Format: date-time
             * @example 2024-01-31T15:00:00Z
             */
            predicted_for: string;
            /** Predicted Price */
            predicted_price: number;
            /** Actual Price */
            actual_price: number;
            /** Abs Error */
            abs_error: number;
            /**
             * Persistence Error
             * @description The error of 'no change'
             */
            persistence_error: number;
            /** Inside 50 */
            inside_50: boolean;
            /** Inside 90 */
            inside_90: boolean;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    predict_api_predict_get: {
        parameters: {
            query: {
                /** @description A product that is served; see /api/coins */
                coin: string;
                /** @description now, 1 to 72 hours back, or an ISO 8601 time (UTC), floored to the hour; rolling (experimental) for one hour from this minute */
                time_from?: string;
                /** @description champion, persistence, or a kind of model; see /api/models */
                model_name?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PredictionAnswer"];
                };
            };
            /** @description No key that is known, where the service asks for one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough history at that time */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many requests of one client; Retry-After says when to come back */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles cannot be had now; Retry-After says when to come back */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_accuracy_api_accuracy_get: {
        parameters: {
            query: {
                /** @description A product that is served; see /api/coins */
                coin: string;
                /** @description champion, persistence, or a kind of model; see /api/models */
                model_name?: string;
                /** @description How many days back, 1 to 3650, or all for everything the ledger holds */
                days?: string;
                /** @description hour, or rolling for forecasts from any minute */
                mode?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AccuracyAnswer"];
                };
            };
            /** @description No key that is known, where the service asks for one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many requests of one client; Retry-After says when to come back */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles cannot be had now; Retry-After says when to come back */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_history_api_history_get: {
        parameters: {
            query: {
                /** @description A product that is served; see /api/coins */
                coin: string;
                /** @description champion, persistence, or a kind of model; see /api/models */
                model_name?: string;
                /** @description How many hours back, 1 to 720 */
                hours?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["HistoryAnswer"];
                };
            };
            /** @description No key that is known, where the service asks for one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many requests of one client; Retry-After says when to come back */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles cannot be had now; Retry-After says when to come back */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_stream_api_stream_get: {
        parameters: {
            query: {
                /** @description A product that is served; see /api/coins */
                coin: string;
                /** @description champion, persistence, or a kind of model; see /api/models */
                model_name?: string;
                /** @description now for a forecast at each closed hour, rolling (experimental) for one each minute */
                time_from?: string;
                /** @description Where to go on; the header Last-Event-ID, which browsers send by themselves, wins */
                last_event_id?: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description No key that is known, where the service asks for one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Unknown coin or model */
            404: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Not enough history at that time */
            409: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Query too long */
            414: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description A parameter is malformed or out of range */
            422: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many requests of one client; Retry-After says when to come back */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Candles cannot be had now; Retry-After says when to come back */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_coins_api_coins_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Coins"];
                };
            };
            /** @description No key that is known, where the service asks for one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many requests of one client; Retry-After says when to come back */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    get_models_api_models_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Models"];
                };
            };
            /** @description No key that is known, where the service asks for one */
            401: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
            /** @description Too many requests of one client; Retry-After says when to come back */
            429: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    live_health_live_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
        };
    };
    ready_health_ready_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description Candles cannot be had now; Retry-After says when to come back */
            503: {
                headers: {
                    /** @description Seconds to wait */
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
}
